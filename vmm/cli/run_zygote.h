#pragma once

#include "vmm/cli/cmd_zygote.h"

namespace mayfly {

// Runs `mayfly zygote`; returns its exit status.
int RunZygote(const ZygoteCommandOptions& options);

}  // namespace mayfly
