#pragma once

#include "vmm/cli/cmd_pager.h"

namespace mayfly {

// Serves until a signal ends it, and returns the exit status. Errors go to standard error.
int RunPager(const PagerCommandOptions& options);

}  // namespace mayfly
