#pragma once

#include <string>

#include "vmm/machine/function_machine.h"

namespace mayfly {

// `mayfly snapshot info`: prints what a snapshot is. Returns the exit status.
int ReportSnapshot(const std::string& directory, bool json);

// What `mayfly snapshot` prints at its end with --json. Returns the exit status.
int ReportSaved(const FunctionMachine::Saved& saved);

// Where it is remembered which snapshots were compared:
// ${MAYFLY_CACHE:-${XDG_CACHE_HOME:-~/.cache}/mayfly}/verified.
std::string StampDirectory();

}  // namespace mayfly
