#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// As RunFunction(), with the machine in a jail.
int RunJailedFunction(const RunOptions& options);

}  // namespace mayfly
