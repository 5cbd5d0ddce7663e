#pragma once

#include "vmm/machine/machine_config.h"

namespace mayfly {

// What a clone's threads call first: each gets the filter of its kind, and without it the process
// ends.
ThreadHooks CloneHooks();
// For the clone's first thread, once it has nothing more to open, map or start.
void LockDownClone();

}  // namespace mayfly
