#include "vmm/cli/signal_watcher.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <array>
#include <csignal>

namespace mayfly {

Result<std::unique_ptr<SignalWatcher>> SignalWatcher::Create(Callback on_end, Callback on_user1,
                                                             std::function<void()> on_start,
                                                             Callback on_user2) {
  static_cast<void>(::signal(SIGPIPE, SIG_IGN));  // There is such a signal.
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&signals, signal);
  if (on_user1) sigaddset(&signals, SIGUSR1);
  if (on_user2) sigaddset(&signals, SIGUSR2);
  if (::pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0) return FailErrno("pthread_sigmask");
  UniqueFd fd(::signalfd(-1, &signals, SFD_CLOEXEC));
  if (!fd.valid()) return FailErrno("signalfd");
  EventFd stop = TRY(EventFd::Create());
  std::unique_ptr<SignalWatcher> self(new SignalWatcher(std::move(fd), std::move(stop)));
  SignalWatcher* const watcher = self.get();
  self->thread_ =
      Thread("signals", [watcher, on_end = std::move(on_end), on_user1 = std::move(on_user1),
                         on_start = std::move(on_start), on_user2 = std::move(on_user2)] {
        if (on_start) on_start();
        watcher->Watch(on_end, on_user1, on_user2);
      });
  return self;
}

void SignalWatcher::Watch(const Callback& on_end, const Callback& on_user1,
                          const Callback& on_user2) {
  while (true) {
    std::array<pollfd, 2> events{{{signals_.get(), POLLIN, 0}, {stop_.fd(), POLLIN, 0}}};
    while (::poll(events.data(), events.size(), -1) < 0 && errno == EINTR) {
    }
    if ((events[0].revents & POLLIN) == 0) return;
    signalfd_siginfo info{};
    if (::read(signals_.get(), &info, sizeof(info)) != sizeof(info)) return;
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGUSR1 || signal == SIGUSR2) {
      (signal == SIGUSR1 ? on_user1 : on_user2)(signal);
      continue;
    }
    received_.store(signal);
    on_end(signal);
    return;
  }
}

SignalWatcher::~SignalWatcher() {
  stop_.Signal();
  thread_.Join();
}

}  // namespace mayfly
