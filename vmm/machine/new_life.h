#pragma once

#include <cstdint>

#include "base/restore_page.h"
#include "base/result.h"

namespace mayfly {

// A restore page for a new life: a generation that no other life has, and fresh entropy.
// Machine::SetRestorePage() adds the time.
Result<RestorePage> NewLife();

// A CID of a life's own.
Result<uint32_t> NewCid();

// Since 1970.
uint64_t WallClockNs();

// The page of a machine that boots: generation 0.
RestorePage FirstLife();

}  // namespace mayfly
