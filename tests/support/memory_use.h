#pragma once

#include <cstdint>

namespace mayfly {

// Under a sanitizer the host's memory says nothing: freed blocks are kept back.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kMemoryUseIsExact = false;
#else
inline constexpr bool kMemoryUseIsExact = true;
#endif

// The resident memory of this process in bytes, but for the mapping that holds `excluded`: a
// guest's memory, which is not the host's. /proc/self/smaps.
uint64_t ResidentBytesWithout(const void* excluded);

// What the host keeps for the anonymous memory [start, start + size) of this process, in RAM or
// swapped out, in bytes: to the page, whatever else the process needs. /proc/self/pagemap.
uint64_t HeldBytes(const void* start, uint64_t size);

// The number in environment variable `name`, or `otherwise`: how long a test goes on.
uint64_t CountFromEnvironment(const char* name, uint64_t otherwise);

}  // namespace mayfly
