#include "vmm/function/interrupts.h"

#include <poll.h>
#include <sys/signalfd.h>

#include <string>

namespace mayfly {
namespace {

sigset_t HeldBack() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

}  // namespace

Result<Interrupts> Interrupts::Create() {
  const sigset_t watched = HeldBack();
  UniqueFd fd(::signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return FailErrno("signalfd");
  sigset_t blocked = watched;
  sigaddset(&blocked, SIGXFSZ);
  sigset_t old_mask;
  if (const int error = ::pthread_sigmask(SIG_BLOCK, &blocked, &old_mask); error != 0) {
    return FailErrno("pthread_sigmask", error);
  }
  return Interrupts(std::move(fd), old_mask);
}

Interrupts::Interrupts(Interrupts&& other) noexcept
    : fd_(std::move(other.fd_)), old_mask_(other.old_mask_) {}

Interrupts::~Interrupts() {
  if (!fd_.valid()) return;
  // A pending SIGXFSZ has been reported as an error already, and would now kill us.
  sigset_t file_size;
  sigemptyset(&file_size);
  sigaddset(&file_size, SIGXFSZ);
  const timespec now{};
  while (::sigtimedwait(&file_size, nullptr, &now) > 0) {
  }
  ::pthread_sigmask(SIG_SETMASK, &old_mask_, nullptr);
}

Result<void> Interrupts::Check() const {
  pollfd waiting{.fd = fd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&waiting, 1, 0) <= 0) return {};
  return Fail(ErrorCode::kCancelled, "stopped by a signal");
}

int Interrupts::Take() const {
  signalfd_siginfo signal{};
  if (::read(fd_.get(), &signal, sizeof(signal)) != static_cast<ssize_t>(sizeof(signal))) return 0;
  return static_cast<int>(signal.ssi_signo);
}

}  // namespace mayfly
