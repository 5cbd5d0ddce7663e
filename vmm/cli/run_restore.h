#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// Restores a function from its snapshot, has it answer, and returns the exit status. Errors go to
// standard error.
int RunRestore(const RestoreOptions& options);

}  // namespace mayfly
