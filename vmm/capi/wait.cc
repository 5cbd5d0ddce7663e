#include "vmm/capi/wait.h"

#include <poll.h>

#include <array>
#include <chrono>

#include "vmm/include/mayfly.h"

namespace mayfly::capi {

Status WaitReadable(int fd, const EventFd& closing, int timeout_ms) {
  using Clock = std::chrono::steady_clock;
  if (timeout_ms < -1) return FailWith(MAYFLY_E_INVALID, "timeout_ms: expected -1 or more");
  const auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  std::array<pollfd, 2> events{{{fd, POLLIN, 0}, {closing.fd(), POLLIN, 0}}};
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    const int wait = timeout_ms < 0 ? -1 : static_cast<int>(std::max<int64_t>(left.count(), 0));
    const int count = ::poll(events.data(), events.size(), wait);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(Failure(Error::FromErrno("poll")));
    if (events[0].revents != 0) return 0;
    if (count > 0) return FailWith(MAYFLY_E_CANCELLED, "the handle was closed");
    return FailWith(MAYFLY_E_TIMEOUT, "not in time");
  }
}

}  // namespace mayfly::capi
