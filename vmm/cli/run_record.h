#pragma once

#include "vmm/cli/options.h"

namespace mayfly {

// Runs `mayfly snapshot record`. Returns the exit status.
int RunRecord(const RecordOptions& options);

}  // namespace mayfly
