#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/function/interrupts.h"

namespace mayfly {

struct ProgramOutcome {
  int status = 0;      // As from waitpid().
  std::string output;  // The first 16 KiB of what it wrote to standard output and error.
};

// Runs a program, looked up in PATH, in `directory`, with an environment that holds PATH alone, and
// waits for it. kNotFound if there is no such program. If a signal arrives, the program is killed
// and the error is kCancelled. The program is always gone when this returns.
Result<ProgramOutcome> RunProgram(const std::vector<std::string>& arguments,
                                  const std::string& directory, const Interrupts& interrupts);

}  // namespace mayfly
