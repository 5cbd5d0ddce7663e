#pragma once

#include <memory>

#include "vmm/capi/library.h"
#include "vmm/machine/function_template.h"

namespace mayfly::capi {

// A function's snapshot behind a handle. Immutable; any thread.
class SnapshotObject final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kSnapshot;

  SnapshotObject(Library* library, std::unique_ptr<FunctionTemplate> opened)
      : ApiObject(library), opened_(std::move(opened)) {}

  [[nodiscard]] const FunctionTemplate& opened() const { return *opened_; }

 private:
  const std::unique_ptr<FunctionTemplate> opened_;
};

}  // namespace mayfly::capi
