#pragma once

#include <memory>

#include "vmm/capi/library.h"
#include "vmm/machine/function_template.h"
#include "vmm/machine/shell_pool.h"

namespace mayfly::capi {

// A function's snapshot behind a handle. Immutable; any thread.
class SnapshotObject final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kSnapshot;

  SnapshotObject(Library* library, std::unique_ptr<FunctionTemplate> opened)
      : ApiObject(library), opened_(std::move(opened)) {}

  // Shared: a pool may outlive the handle that it was made from.
  [[nodiscard]] const std::shared_ptr<const FunctionTemplate>& opened() const { return opened_; }

 private:
  const std::shared_ptr<const FunctionTemplate> opened_;
};

// A pool of shells behind a handle. Any thread.
class PoolObject final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kPool;

  PoolObject(Library* library, std::shared_ptr<const FunctionTemplate> opened, bool refill)
      : ApiObject(library),
        opened_(std::move(opened)),
        shells_(&opened_->state(), refill, library) {}

  [[nodiscard]] ShellPool& shells() { return shells_; }
  [[nodiscard]] bool IsFor(const FunctionTemplate* opened) const { return opened == opened_.get(); }

 private:
  const std::shared_ptr<const FunctionTemplate> opened_;
  ShellPool shells_;
};

}  // namespace mayfly::capi
