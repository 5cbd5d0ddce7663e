#pragma once

#include <cstdint>

// Constants and layouts of the memory balloon device (virtio 1.2, section 5.5), named as there.
namespace mayfly::balloon {

inline constexpr uint64_t kFeatureStatsQueue = 1ULL << 1;
inline constexpr uint64_t kFeatureDeflateOnOom = 1ULL << 2;
inline constexpr uint64_t kFeaturePageReporting = 1ULL << 5;

// The unit of page numbers, whatever the guest's pages are.
inline constexpr uint32_t kPageShift = 12;

struct Config {
  uint32_t num_pages;  // What the host wants the balloon to hold.
  uint32_t actual;     // What the driver says that it holds.
};
static_assert(sizeof(Config) == 8);
inline constexpr uint64_t kActualOffset = 4;

// One entry of the statistics buffer (5.5.6.3).
struct [[gnu::packed]] Stat {
  uint16_t tag;
  uint64_t value;
};
static_assert(sizeof(Stat) == 10);

inline constexpr uint16_t kStatSwapIn = 0;
inline constexpr uint16_t kStatSwapOut = 1;
inline constexpr uint16_t kStatMajorFaults = 2;
inline constexpr uint16_t kStatMinorFaults = 3;
inline constexpr uint16_t kStatFreeMemory = 4;
inline constexpr uint16_t kStatTotalMemory = 5;
inline constexpr uint16_t kStatAvailableMemory = 6;
inline constexpr uint16_t kStatDiskCaches = 7;

}  // namespace mayfly::balloon
