#pragma once

#include <memory>

#include "vmm/machine/function_template.h"
#include "vmm/zygote/zygote.h"

namespace mayfly {

// A zygote's clone that is a function: restores it, and takes invocations from the host process
// until that closes its end.
class FunctionCloneBody final : public CloneBody {
 public:
  // Both are borrowed.
  FunctionCloneBody(const FunctionTemplate* from, int kvm) : template_(from), kvm_(kvm) {}

  Result<void> Prepare() override;
  // The request's first descriptor, if it has one, is what the guest's console writes to.
  Result<void> Run(int host, Packet request) override;

 private:
  const FunctionTemplate* const template_;
  const int kvm_;
  std::unique_ptr<Shell> shell_;
};

}  // namespace mayfly
