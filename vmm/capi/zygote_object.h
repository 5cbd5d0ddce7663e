#pragma once

#include <memory>

#include "vmm/capi/library.h"
#include "vmm/machine/function_template.h"
#include "vmm/zygote/zygote_process.h"

namespace mayfly::capi {

// A zygote behind a handle. Any thread.
class ZygoteObject final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kZygote;

  ZygoteObject(Library* library, std::shared_ptr<const FunctionTemplate> opened,
               std::shared_ptr<ZygoteProcess> process)
      : ApiObject(library), opened_(std::move(opened)), process_(std::move(process)) {}

  // Shared: clones may outlive the handle.
  [[nodiscard]] const std::shared_ptr<ZygoteProcess>& process() const { return process_; }
  [[nodiscard]] bool IsFor(const FunctionTemplate* opened) const { return opened == opened_.get(); }

 private:
  const std::shared_ptr<const FunctionTemplate> opened_;
  const std::shared_ptr<ZygoteProcess> process_;
};

}  // namespace mayfly::capi
