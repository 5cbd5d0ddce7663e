#pragma once

#include <cstdint>

#include "base/restore_page.h"
#include "base/result.h"

namespace mayfly {

// A restore page for a life that begins now: a generation that no other life has, fresh entropy,
// and the wall clock.
Result<RestorePage> NewLife();

// A CID of a life's own.
Result<uint32_t> NewCid();

// The page of a machine that boots: generation 0.
RestorePage FirstLife();

}  // namespace mayfly
