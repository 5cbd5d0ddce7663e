#include "guest-init/system.h"

#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/unique_fd.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

constexpr int kLockOnUse = MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT;

}  // namespace

Result<void> EnableLoopback() {
  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!socket.valid() || ::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
    return FailErrno("loopback interface");
  }
  return {};
}

Result<void> ProtectInit() {
  sched_param parameters{};
  parameters.sched_priority = 1;
  if (::sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &parameters) != 0) {
    return FailErrno("real-time priority");
  }
  if (::mlockall(kLockOnUse) != 0) return FailErrno("mlockall");
  TRY(WriteText("/proc/self/oom_score_adj", "-1000"));
  // Absent if the kernel has no user namespaces.
  IgnoreFailure(WriteText("/proc/sys/user/max_user_namespaces", "0"));
  return {};
}

Result<void> PopulateInit() {
  // Without MCL_ONFAULT everything that is mapped is brought in now; what is mapped later is to
  // come in by use again.
  if (::mlockall(MCL_CURRENT | MCL_FUTURE) != 0 || ::mlockall(kLockOnUse) != 0) {
    return FailErrno("mlockall");
  }
  return {};
}

Result<void> SetHostName(const std::string& name) {
  constexpr size_t kMaxHostName = 64;
  if (::sethostname(name.data(), std::min(name.size(), kMaxHostName)) != 0) {
    return FailErrno("host name");
  }
  return {};
}

Result<void> SetWallClock(uint64_t nanoseconds_since_epoch) {
  constexpr uint64_t kSecond = 1'000'000'000;
  const timespec time{static_cast<time_t>(nanoseconds_since_epoch / kSecond),
                      static_cast<long>(nanoseconds_since_epoch % kSecond)};
  if (::clock_settime(CLOCK_REALTIME, &time) != 0) return FailErrno("set the clock");
  return {};
}

Result<uint64_t> TotalMemory() {
  struct sysinfo info{};
  if (::sysinfo(&info) != 0) return FailErrno("sysinfo");
  return uint64_t{info.totalram} * info.mem_unit;
}

void PowerOffMachine() {
  ::sync();
  ::reboot(RB_POWER_OFF);
  // A machine without power control: nothing is left to be done.
  while (true) ::pause();
}

}  // namespace mayfly::init
