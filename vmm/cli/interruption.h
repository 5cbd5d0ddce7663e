#pragma once

#include <functional>

#include "base/mutex.h"

namespace mayfly {

// A signal's way to a machine that may not be there yet: whoever waits for signals has to begin
// before the machine's threads do. Any thread.
class Interruption {
 public:
  static constexpr char kReason[] = "interrupted by a signal";

  // `stop` ends what the machine is at. It is called by each Interrupt(), and at once if there was
  // one before.
  void Bind(std::function<void()> stop);
  void Interrupt();
  [[nodiscard]] bool wanted() const;

 private:
  mutable Mutex mutex_;
  std::function<void()> stop_ GUARDED_BY(mutex_);
  bool wanted_ GUARDED_BY(mutex_) = false;
};

}  // namespace mayfly
