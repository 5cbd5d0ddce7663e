#pragma once

#include "base/result.h"

namespace mayfly {

// What a process may do beyond its system calls. For the jailed process itself, before it has other
// threads; none of it can be taken back.

// Empties all five sets of capabilities (effective, permitted, inheritable, bounding, ambient) and
// locks the secure bits: being uid 0, or running a set-uid program, gives none of them again.
Result<void> DropCapabilities();

// No program that it runs gets privileges that it has not. Always, whatever else is left out:
// filters and Landlock without it would be open to set-uid programs.
Result<void> SetNoNewPrivileges();

// Nobody of the same user can trace it, or read its memory: it is full of the guest's.
Result<void> SetNotDumpable();

// Memory that was writable never becomes executable. Does nothing before Linux 6.3.
Result<void> DenyWritableCode();

// Landlock: refuses every path, TCP port, signal to outside and abstract socket, to this thread and
// those that it starts. Does nothing where the kernel has no Landlock; what it can refuse depends
// on the version.
Result<void> DenyPathsAndPorts();

// The process ends with its parent: a supervisor that is killed leaves nobody behind. `parent` is a
// pidfd of it; the last step that changes who this process is has to be before.
Result<void> EndWithParent(int parent);

}  // namespace mayfly
