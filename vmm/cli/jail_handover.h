#pragma once

#include <vector>

#include "snapshot/restored_memory.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

// What a supervisor opens for a machine that may open nothing.

// /dev/kvm, and the taps of `nets`; adds the descriptors to `keep`.
Result<void> OpenForJail(UniqueFd* kvm, std::vector<NetConfig>* nets, std::vector<int>* keep);

// A disk and its overlay, for the engine that a jail allows: an io_uring would open files past
// every filter.
Result<void> OpenForJail(DiskConfig* disk, std::vector<int>* keep);

// A snapshot's memory, filled as `memory` says, which has nothing to open any more; the
// userfaultfd, if there is one, which `memory` borrows.
Result<UniqueFd> OpenForJail(MemoryImage& image, MemoryOptions* memory, std::vector<int>* keep);

}  // namespace mayfly
