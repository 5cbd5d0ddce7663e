#pragma once

#include "base/result.h"
#include "snapshot/machine_state.h"
#include "snapshot/working_set.h"
#include "vmm/bench/bench_guest.h"
#include "vmm/bench/restore_bench.h"

namespace mayfly {

// What a restore cannot do without, as a bare sequence of system calls on one thread: KVM's machine
// over a mapping of the memory file, the vCPU's state, KVM_RUN to the guest's first doorbell, and
// on to its last. `working_set` is filled in bulk first, as the case's way does it; null for none,
// and then only the first time means something.
Result<GuestTimes> MeasureFloor(const RestoreCase& what, const MachineState& state, int memory_fd,
                                const WorkingSet* working_set);

}  // namespace mayfly
