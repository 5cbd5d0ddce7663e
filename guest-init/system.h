#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

// What init does to the kernel and to itself, once.
namespace mayfly::init {

// Brings the loopback interface up.
Result<void> EnableLoopback();

// Makes init run whatever the handler does: real-time priority (its children get the usual one),
// memory that stays, no OOM killer. Also takes from unprivileged programs what no function needs
// and hostile ones like: user namespaces.
Result<void> ProtectInit();

// Brings in the pages that init may touch for the first time later.
Result<void> PopulateInit();

Result<void> SetHostName(const std::string& name);
Result<void> SetWallClock(uint64_t nanoseconds_since_epoch);

// The memory that the kernel manages, in bytes.
Result<uint64_t> TotalMemory();

// Syncs and ends the machine. Does not return.
[[noreturn]] void PowerOffMachine();

}  // namespace mayfly::init
