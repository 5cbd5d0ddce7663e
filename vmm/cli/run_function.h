#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// Boots a machine, has it run the function, prints what options.json asks for, and returns the exit
// status.
int RunFunction(const RunOptions& options);

}  // namespace mayfly
