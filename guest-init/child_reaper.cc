#include "guest-init/child_reaper.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include <array>

namespace mayfly::init {

Result<std::unique_ptr<ChildReaper>> ChildReaper::Create(EventLoop* loop) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  if (::sigprocmask(SIG_BLOCK, &set, nullptr) != 0) return FailErrno("sigprocmask");
  UniqueFd signals(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals.valid()) return FailErrno("signalfd");
  std::unique_ptr<ChildReaper> reaper(new ChildReaper(std::move(signals), loop));
  ChildReaper* self = reaper.get();
  reaper->watch_ =
      TRY(loop->Watch(self->signals_.get(), EPOLLIN, [self](uint32_t) { self->ReapAll(); }));
  return reaper;
}

ChildReaper::~ChildReaper() {
  if (watch_ != 0) loop_->Remove(watch_);
}

void ChildReaper::ReapAll() {
  std::array<signalfd_siginfo, 8> signals;
  while (::read(signals_.get(), signals.data(), sizeof(signals)) > 0) {
  }
  // Signals of many children merge into one, so the children are what counts.
  int status = 0;
  for (pid_t child = 0; (child = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto found = expected_.find(child);
    if (found == expected_.end()) continue;
    const ExitCallback callback = std::move(found->second);
    expected_.erase(found);
    callback(status);
  }
}

}  // namespace mayfly::init
