#pragma once

#include <cstddef>

#include "base/result.h"
#include "snapshot/restored_memory.h"
#include "vmm/config/overrides.h"

namespace mayfly::capi {

// What restores of functions and of machines are both told. kInvalidArgument names the member, and
// in an override its key.

// One of MAYFLY_MEMORY_*.
Result<MemoryWay> ReadMemoryWay(int memory);

// kTooLarge for more than 64.
Result<Overrides> ReadOverrides(const char* const* texts, size_t count);

}  // namespace mayfly::capi
