#pragma once

#include "vmm/cli/options.h"
#include "vmm/function/image.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

// Boots a machine, has it run the function, prints what options.json asks for, and returns the exit
// status.
int RunFunction(const RunOptions& options);

// What FunctionMachine::Boot() needs for them; `image` is the opened options.image.
Result<FunctionMachineConfig> BootConfigOf(const RunOptions& options, const FunctionImage& image);

}  // namespace mayfly
