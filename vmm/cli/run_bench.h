#pragma once

#include "vmm/cli/cmd_bench.h"

namespace mayfly {

// Runs the bench, prints its table, and returns the exit status. Progress and errors go to standard
// error.
int RunBench(const BenchOptions& options);

}  // namespace mayfly
