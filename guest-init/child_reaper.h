#pragma once

#include <sys/types.h>

#include <functional>
#include <map>

#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace mayfly::init {

// Reaps every child, those that PID 1 inherits included, and tells who waits for one of them.
// SIGCHLD is blocked in the thread that creates it, and stays so.
class ChildReaper {
 public:
  // `status` is waitpid()'s.
  using ExitCallback = std::function<void(int status)>;

  static Result<std::unique_ptr<ChildReaper>> Create(EventLoop* loop);
  ~ChildReaper();
  ChildReaper(const ChildReaper&) = delete;
  ChildReaper& operator=(const ChildReaper&) = delete;

  // To be called before control goes back to the loop after the fork.
  void Expect(pid_t child, ExitCallback callback) { expected_[child] = std::move(callback); }

 private:
  ChildReaper(UniqueFd signals, EventLoop* loop) : signals_(std::move(signals)), loop_(loop) {}
  void ReapAll();

  UniqueFd signals_;
  EventLoop* loop_;
  EventLoop::WatchId watch_ = 0;
  std::map<pid_t, ExitCallback> expected_;
};

}  // namespace mayfly::init
