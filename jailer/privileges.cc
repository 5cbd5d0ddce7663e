#include "jailer/privileges.h"

#include <linux/landlock.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <poll.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include "base/unique_fd.h"

namespace mayfly {
namespace {

// Newer than this machine's headers may be.
constexpr int kSetMdwe = 65;
constexpr unsigned long kMdweRefuseExecGain = 1;

// Documentation/userspace-api/landlock.rst: what each version of it can handle.
constexpr int kVersionRefer = 2;
constexpr int kVersionTruncate = 3;
constexpr int kVersionNetwork = 4;
constexpr int kVersionIoctl = 5;
constexpr int kVersionScope = 6;
constexpr uint64_t kFirstAccesses = (1ULL << 13) - 1;
constexpr uint64_t kRefer = 1ULL << 13;
constexpr uint64_t kTruncate = 1ULL << 14;
constexpr uint64_t kIoctl = 1ULL << 15;
constexpr uint64_t kBindAndConnect = 3;
constexpr uint64_t kAbstractSocketsAndSignals = 3;

// struct landlock_ruleset_attr of version 6.
struct Ruleset {
  uint64_t handled_access_fs;
  uint64_t handled_access_net;
  uint64_t scoped;
};

}  // namespace

Result<void> DropCapabilities() {
  // Of this kernel's, which may have others than the library knows.
  const int count = ::cap_max_bits();
  for (cap_value_t capability = 0; capability < count; ++capability) {
    if (::cap_drop_bound(capability) != 0) {
      return FailErrno("drop a capability from the bounding set");
    }
  }
  // The library's cap_reset_ambient() looks at each of them before, in as many system calls.
  if (::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0) {
    return FailErrno("empty the ambient set");
  }
  constexpr unsigned kSecureBits =
      SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NO_CAP_AMBIENT_RAISE | SECURE_ALL_LOCKS;
  if (::prctl(PR_SET_SECUREBITS, kSecureBits, 0, 0, 0) != 0) return FailErrno("PR_SET_SECUREBITS");
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> none(::cap_init(),
                                                                           &::cap_free);
  if (!none || ::cap_set_proc(none.get()) != 0) return FailErrno("drop all capabilities");
  return {};
}

Result<void> SetNoNewPrivileges() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno("PR_SET_NO_NEW_PRIVS");
  return {};
}

Result<void> SetNotDumpable() {
  if (::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return FailErrno("PR_SET_DUMPABLE");
  return {};
}

Result<void> DenyWritableCode() {
  if (::prctl(kSetMdwe, kMdweRefuseExecGain, 0, 0, 0) != 0 && errno != EINVAL) {
    return FailErrno("PR_SET_MDWE");
  }
  return {};
}

Result<void> DenyPathsAndPorts() {
  const auto version = static_cast<int>(
      ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION));
  if (version < 1) return {};
  Ruleset rules{kFirstAccesses, 0, 0};
  if (version >= kVersionRefer) rules.handled_access_fs |= kRefer;
  if (version >= kVersionTruncate) rules.handled_access_fs |= kTruncate;
  if (version >= kVersionNetwork) rules.handled_access_net = kBindAndConnect;
  if (version >= kVersionIoctl) rules.handled_access_fs |= kIoctl;
  if (version >= kVersionScope) rules.scoped = kAbstractSocketsAndSignals;
  const size_t size = version >= kVersionScope     ? sizeof(Ruleset)
                      : version >= kVersionNetwork ? 2 * sizeof(uint64_t)
                                                   : sizeof(uint64_t);
  const UniqueFd ruleset(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &rules, size, 0)));
  if (!ruleset.valid()) return FailErrno("landlock_create_ruleset");
  if (::syscall(SYS_landlock_restrict_self, ruleset.get(), 0) != 0) {
    return FailErrno("landlock_restrict_self");
  }
  return {};
}

Result<void> EndWithParent(int parent) {
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return FailErrno("PR_SET_PDEATHSIG");
  // It may have ended before that. Its number would not tell: from here it is 0, dead or alive.
  pollfd ended{parent, POLLIN, 0};
  if (::poll(&ended, 1, 0) < 0) return FailErrno("poll");
  if (ended.revents != 0) return Fail(ErrorCode::kCancelled, "the supervisor has ended");
  return {};
}

}  // namespace mayfly
