#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/cli/options.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

// A function that was restored from a snapshot and runs.
struct FunctionClone {
  Snapshot snapshot;  // Without state and memory, which the machine has; kept open beside it.
  std::unique_ptr<FunctionMachine> machine;
  std::string name;
  uint32_t timeout_ms;  // For one invocation.
};

// Restores what `options` say. `log` outlives the machine.
Result<FunctionClone> CloneFunction(const RestoreOptions& options,
                                    FunctionSession::LogCallback on_log, LogSink* log);

}  // namespace mayfly
