#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// Runs `mayfly snapshot DIR`. Returns the exit status.
int RunLayer(const LayerOptions& options);

}  // namespace mayfly
