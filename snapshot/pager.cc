#include "snapshot/pager.h"

namespace mayfly {

Result<void> Pager::Begin(std::function<void(const Error&)> failed) {
  MutexLock lock(mutex_);
  if (failure_) return std::unexpected(*failure_);
  failed_ = std::move(failed);
  return {};
}

void Pager::SetFailed(const Error& error) {
  MutexLock lock(mutex_);
  if (failure_) return;
  failure_ = error;
  if (failed_) failed_(error);
}

}  // namespace mayfly
