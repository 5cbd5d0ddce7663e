#include "jailer/namespaces.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <memory>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr char kHostName[] = "jail";
constexpr unsigned long kRootFlags = MS_NOSUID | MS_NODEV | MS_NOEXEC;

Result<void> WriteProc(const char* path, const std::string& text) {
  const UniqueFd file = TRY(OpenFile(path, O_WRONLY));
  return WriteAll(file.get(), AsBytes(text), path);
}

// One identity, the same on both sides: there is nobody else in the jail.
Result<void> MapUser(const JailUser& user) {
  // /proc/self belongs to root while a process that changed its user is not dumpable.
  if (::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != 0) return FailErrno("PR_SET_DUMPABLE");
  TRY(WriteProc("/proc/self/setgroups", "deny"));
  TRY(WriteProc("/proc/self/gid_map", fmt::format("{0} {0} 1", user.gid)));
  return WriteProc("/proc/self/uid_map", fmt::format("{0} {0} 1", user.uid));
}

// They are kept, but not in force, when root becomes somebody else.
Result<void> UsePermittedCapabilities() {
  const std::unique_ptr<std::remove_pointer_t<cap_t>, int (*)(void*)> sets(::cap_get_proc(),
                                                                           &::cap_free);
  if (!sets) return FailErrno("cap_get_proc");
  const int count = ::cap_max_bits();
  for (cap_value_t capability = 0; capability < count; ++capability) {
    cap_flag_value_t permitted = CAP_CLEAR;
    ::cap_get_flag(sets.get(), capability, CAP_PERMITTED, &permitted);
    ::cap_set_flag(sets.get(), CAP_EFFECTIVE, 1, &capability, permitted);
  }
  if (::cap_set_proc(sets.get()) != 0) return FailErrno("cap_set_proc");
  return {};
}

}  // namespace

Result<UniqueFd> PrepareProcessNamespace() {
  UniqueFd own = TRY(OpenFile("/proc/self/ns/pid", O_RDONLY));
  if (::unshare(CLONE_NEWPID) == 0) return own;
  if (errno != EPERM) return FailErrno("unshare(CLONE_NEWPID)");
  const JailUser self{::geteuid(), ::getegid()};
  if (::unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0) {
    return FailErrno("unshare(CLONE_NEWUSER | CLONE_NEWPID)");
  }
  TRY(MapUser(self));
  return own;
}

Result<void> ReturnToProcessNamespace(int own) {
  if (::setns(own, CLONE_NEWPID) != 0) return FailErrno("setns");
  return {};
}

Result<void> BecomeUser(const JailUser& user) {
  if (user.uid == ::geteuid() && user.gid == ::getegid()) return {};
  if (::prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) != 0) return FailErrno("PR_SET_KEEPCAPS");
  if (::setgroups(0, nullptr) != 0) return FailErrno("setgroups");
  if (::setresgid(user.gid, user.gid, user.gid) != 0) return FailErrno("setresgid");
  if (::setresuid(user.uid, user.uid, user.uid) != 0) return FailErrno("setresuid");
  return UsePermittedCapabilities();
}

Result<void> EnterNamespaces(const JailUser& user) {
  constexpr int kAllButUser =
      CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
  if (::unshare(CLONE_NEWUSER | kAllButUser) == 0) {
    TRY(WithContext(MapUser(user), "user namespace"));
    // Who needs no privilege for a user namespace would have all of them in it.
    TRY(WriteProc("/proc/sys/user/max_user_namespaces", "0"));
  } else if (::unshare(kAllButUser) != 0) {
    // In a chroot, and where the administrator wants none, there is no user namespace for root
    // either; the others do without.
    return FailErrno("unshare");
  }
  if (::sethostname(kHostName, sizeof(kHostName) - 1) != 0) return FailErrno("sethostname");
  return {};
}

Result<void> EnterMountNamespace() {
  if (::unshare(CLONE_NEWNS) != 0) return FailErrno("unshare(CLONE_NEWNS)");
  return {};
}

Result<void> EnterEmptyRoot() {
  // Nothing that is mounted here shows up at the host, nor the other way round.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return FailErrno("mount / privately");
  }
  // Over a directory that every host has; nothing is created anywhere.
  if (::mount("jail", "/proc", "tmpfs", kRootFlags, "size=4k,nr_inodes=1,mode=0555") != 0) {
    return FailErrno("mount the root");
  }
  if (::chdir("/proc") != 0) return FailErrno("chdir to the root");
  // The old root comes to lie over the new one, and is taken from there, with all below it.
  if (::syscall(SYS_pivot_root, ".", ".") != 0) return FailErrno("pivot_root");
  if (::umount2(".", MNT_DETACH) != 0) return FailErrno("unmount the host's root");
  if (::chdir("/") != 0) return FailErrno("chdir /");
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | kRootFlags, nullptr) != 0) {
    return FailErrno("make the root read-only");
  }
  return {};
}

}  // namespace mayfly
