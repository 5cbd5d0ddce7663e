#include "jailer/process_limits.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace mayfly {
namespace {

Result<void> CloseBetween(unsigned first, unsigned last) {
  if (first > last) return {};
  if (::close_range(first, last, 0) != 0) return FailErrno("close_range");
  return {};
}

Result<void> Limit(__rlimit_resource_t resource, const char* name, uint64_t value) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return FailErrno(fmt::format("getrlimit {}", name));
  // Never more than the caller has: without CAP_SYS_RESOURCE it would not be permitted.
  limit.rlim_max = std::min<rlim_t>(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(resource, &limit) != 0) return FailErrno(fmt::format("setrlimit {}", name));
  return {};
}

}  // namespace

Result<void> CloseInherited(std::span<const int> keep) {
  std::vector<int> kept(keep.begin(), keep.end());
  std::ranges::sort(kept);
  unsigned next = STDERR_FILENO + 1;
  for (const int fd : kept) {
    if (fd < static_cast<int>(next)) continue;
    TRY(CloseBetween(next, static_cast<unsigned>(fd) - 1));
    next = static_cast<unsigned>(fd) + 1;
  }
  return CloseBetween(next, ~0U);
}

void ClearEnvironment() {
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    ::explicit_bzero(*entry, std::strlen(*entry));
  }
  ::clearenv();
}

Result<void> SetProcessLimits(const ProcessLimits& limits) {
  TRY(Limit(RLIMIT_CORE, "RLIMIT_CORE", 0));
  TRY(Limit(RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 0));
  TRY(Limit(RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 0));
  TRY(Limit(RLIMIT_RTPRIO, "RLIMIT_RTPRIO", 0));
  TRY(Limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", limits.open_files));
  TRY(Limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", limits.file_bytes));
  // A file that is full is an error of write(2), which the device reports to the guest.
  if (::signal(SIGXFSZ, SIG_IGN) == SIG_ERR) return FailErrno("signal SIGXFSZ");
  return {};
}

}  // namespace mayfly
