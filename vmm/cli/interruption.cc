#include "vmm/cli/interruption.h"

#include <utility>

namespace mayfly {

void Interruption::Bind(std::function<void()> stop) {
  MutexLock lock(mutex_);
  stop_ = std::move(stop);
  if (wanted_) stop_();
}

void Interruption::Interrupt() {
  MutexLock lock(mutex_);
  wanted_ = true;
  if (stop_) stop_();
}

bool Interruption::wanted() const {
  MutexLock lock(mutex_);
  return wanted_;
}

}  // namespace mayfly
