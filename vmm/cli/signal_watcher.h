#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/event_fd.h"
#include "base/thread.h"

namespace mayfly {

// Waits for SIGINT, SIGTERM and SIGHUP on a thread of its own, and calls back with the first one;
// before that, with each SIGUSR1 and SIGUSR2, which are no end, if somebody wants to know of them.
// Blocks them in the calling thread, which has to be the main one, before other threads exist;
// SIGPIPE is ignored, so that a closed pipe is an error of write(2).
class SignalWatcher {
 public:
  using Callback = std::function<void(int signal)>;

  // `on_user1` and `on_user2` may be empty: the signal then keeps its default, which ends the
  // process. `on_start`, if there is one, is called first in the thread.
  static Result<std::unique_ptr<SignalWatcher>> Create(Callback on_end, Callback on_user1 = {},
                                                       std::function<void()> on_start = {},
                                                       Callback on_user2 = {});
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;
  ~SignalWatcher();

  // The signal that ends, or 0.
  [[nodiscard]] int received() const { return received_.load(); }

 private:
  SignalWatcher(UniqueFd signals, EventFd stop)
      : signals_(std::move(signals)), stop_(std::move(stop)) {}
  void Watch(const Callback& on_end, const Callback& on_user1, const Callback& on_user2);

  UniqueFd signals_;
  EventFd stop_;
  std::atomic<int> received_{0};
  Thread thread_;
};

}  // namespace mayfly
