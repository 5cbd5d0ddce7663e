#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "base/event_fd.h"
#include "base/thread.h"

namespace mayfly {

// Waits for SIGINT, SIGTERM and SIGHUP on a thread of its own, and calls back with the first one.
// Blocks them in the calling thread, which has to be the main one, before other threads exist;
// SIGPIPE is ignored, so that a closed pipe is an error of write(2).
class SignalWatcher {
 public:
  static Result<std::unique_ptr<SignalWatcher>> Create(std::function<void(int signal)> callback);
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;
  ~SignalWatcher();

  // The signal that came, or 0.
  [[nodiscard]] int received() const { return received_.load(); }

 private:
  SignalWatcher(UniqueFd signals, EventFd stop, std::function<void(int)> callback);

  UniqueFd signals_;
  EventFd stop_;
  std::atomic<int> received_{0};
  Thread thread_;
};

}  // namespace mayfly
