#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// Boots a function, warms it, saves it, and returns the exit status. Errors go to standard error.
int RunSnapshot(const SnapshotOptions& options);

}  // namespace mayfly
