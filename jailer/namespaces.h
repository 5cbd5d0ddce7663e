#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

struct JailUser {
  uint32_t uid = 0;
  uint32_t gid = 0;
};

// The views of the host that a jailed process has. For the process itself, before it has other
// threads.

// Before fork(), in the supervisor: the next child is the first process of a new process namespace,
// can name nobody outside it, and takes with it whatever it should have started. Without privileges
// that needs a user namespace of the caller's own, in which it goes on as itself. Returns the
// namespace of the caller's later children, for ReturnToProcessNamespace() after the fork().
Result<UniqueFd> PrepareProcessNamespace();
Result<void> ReturnToProcessNamespace(int own);

// Becomes `user`, without groups, and keeps its capabilities for the steps that follow. Two
// machines of different users cannot signal or trace each other even where nothing else is between
// them.
Result<void> BecomeUser(const JailUser& user);

// Enters new user, mount, network, IPC, UTS and cgroup namespaces: its capabilities are from here
// on good for what these hold, which is nothing, and for nothing of the host's. There is no further
// user namespace in it. `user` is who it is, inside and outside. Root does without a user namespace
// where there is none to be had, as in a chroot.
Result<void> EnterNamespaces(const JailUser& user);

// Enters a new mount namespace alone, with the capabilities that BecomeUser() kept.
Result<void> EnterMountNamespace();

// Makes the root directory an empty one that nothing can be written to, and lets go of the host's
// with everything that is mounted there: a path leads nowhere. In
// a mount namespace of its own, or it would be the host that loses its root.
Result<void> EnterEmptyRoot();

}  // namespace mayfly
