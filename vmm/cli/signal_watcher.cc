#include "vmm/cli/signal_watcher.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <array>
#include <csignal>

namespace mayfly {

Result<std::unique_ptr<SignalWatcher>> SignalWatcher::Create(
    std::function<void(int signal)> callback) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return FailErrno("pthread_sigmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.valid()) return FailErrno("signalfd");
  EventFd stop = TRY(EventFd::Create());
  return std::unique_ptr<SignalWatcher>(
      new SignalWatcher(std::move(fd), std::move(stop), std::move(callback)));
}

SignalWatcher::SignalWatcher(UniqueFd signals, EventFd stop, std::function<void(int)> callback)
    : signals_(std::move(signals)), stop_(std::move(stop)) {
  thread_ = Thread("signals", [this, callback = std::move(callback)] {
    std::array<pollfd, 2> events{{{signals_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}}};
    while (::poll(events.data(), events.size(), -1) < 0 && errno == EINTR) {
    }
    if ((events[0].revents & POLLIN) == 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return;
    received_.store(static_cast<int>(info.ssi_signo));
    callback(static_cast<int>(info.ssi_signo));
  });
}

SignalWatcher::~SignalWatcher() {
  stop_.Signal();
  thread_.Join();
}

}  // namespace mayfly
