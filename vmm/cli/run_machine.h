#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// Boots a machine with its console on the terminal, waits for its end, and returns the exit status.
int RunMachine(const VmOptions& options);

}  // namespace mayfly
