#include "base/event_fd.h"

#include <sys/eventfd.h>
#include <sys/uio.h>

namespace mayfly {

Result<EventFd> EventFd::Create() {
  UniqueFd fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd.valid()) return FailErrno("eventfd");
  return EventFd(std::move(fd));
}

void EventFd::Signal() const {
  // Fails only with EAGAIN, when 2^64 - 2 signals are pending: the waiter will wake up anyway.
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd_.get(), &one, sizeof(one));
}

uint64_t EventFd::Take() const {
  uint64_t count = 0;
  // preadv2() at no offset is read(): threads that have the one for disks need no other call.
  const iovec to{&count, sizeof(count)};
  return ::preadv2(fd_.get(), &to, 1, -1, 0) == sizeof(count) ? count : 0;
}

}  // namespace mayfly
