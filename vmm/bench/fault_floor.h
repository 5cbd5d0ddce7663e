#pragma once

#include <chrono>

#include "base/result.h"
#include "snapshot/machine_state.h"
#include "vmm/bench/fault_bench.h"

namespace mayfly {

// How long the guest takes from its first mark to its last where a bare machine runs it on one
// thread, and another answers its faults by poll, read and UFFDIO_COPY and nothing else.
Result<std::chrono::steady_clock::duration> MeasureFaultFloor(const FaultCase& what,
                                                              const MachineState& state,
                                                              int memory_fd);

}  // namespace mayfly
