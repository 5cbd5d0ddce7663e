#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

// What the VMM and mayfly-init agree on so that a machine can be snapshotted and given further
// lives. docs/snapshot-format.md describes it for other implementations.
//
//   init                                                VMM
//   (kSnapshot frame: freezes the handler, cleans up)
//   generation = page.generation
//   for each run of unused pages: *discard = run  ->    gives the memory back
//   do *doorbell = kDoorbellReady                 ->    stops every vCPU and takes the snapshot
//   while (page.generation == generation)         <-    in each life: fills the page, lets it run
//   reseeds, sets the clock, thaws the handler
namespace mayfly {

// One page of reserved guest-physical memory. Init reads it through /dev/mem.
inline constexpr uint64_t kRestorePageAddress = 0xde000;

// The doorbell's registers are written only. Both are at the physical address, the first is at the
// port as well. Init uses the address: by the task state segment a process may use a port, and
// QEMU's emulation does not take that of a machine that was restored (its type is busy, as on
// hardware).
inline constexpr uint64_t kDoorbellAddress = 0xcffff000;
inline constexpr uint16_t kDoorbellPort = 0x610;

// The first register, of 32 bits. Ready: the guest stands where it wants to be snapshotted.
inline constexpr uint32_t kDoorbellRing = 0;
inline constexpr uint32_t kDoorbellReady = 1;
// Any other value is a mark, for measurements: the VMM notes when it came.
inline constexpr uint32_t kDoorbellBegun = 2;
inline constexpr uint32_t kDoorbellDone = 3;

// The second register, of 64 bits: nobody needs what is in a run of pages, whose first page's
// number is in the lower half and whose length in pages in the upper one. They read as zeros when
// the write is done. A run of more pages than the most is left alone.
inline constexpr uint32_t kDoorbellDiscard = 8;
inline constexpr uint32_t kDoorbellMostPages = (64 << 20) / 4096;

// The page's beginning; the rest is zero. Little-endian. The VMM writes it while no vCPU runs, so
// the guest never sees half of it.
struct RestorePage {
  static constexpr uint64_t kMagic = 0x54534552594c464d;  // "MFLYREST"
  static constexpr uint32_t kVersion = 1;
  // A kRestore frame follows, and the handler is not to be thawed before it was acted on.
  static constexpr uint32_t kAwaitRestoreFrame = 1;

  uint64_t magic;
  uint32_t version;
  uint32_t flags;
  uint64_t generation;     // 0 from boot on; another value in each life.
  uint64_t wall_clock_ns;  // Since 1970, at the beginning of this life.
  std::array<uint8_t, 64> entropy;
  // What the first vCPU's time stamp counter was at `wall_clock_ns`, and how fast it runs: a guest
  // that does not get to run at once adds the difference. A rate of 0: not known.
  uint64_t tsc;
  uint32_t tsc_khz;
  uint32_t reserved;

  // The wall clock when the counter stands at `counter`.
  [[nodiscard]] uint64_t WallClockAt(uint64_t counter) const {
    // Longer than any guest waits; a counter beyond is not the one that the VMM has read.
    constexpr uint64_t kMostMs = 3'600'000;
    const uint64_t ticks = counter - tsc;
    if (tsc_khz == 0 || counter < tsc || ticks / tsc_khz > kMostMs) return wall_clock_ns;
    // Milliseconds and the rest apart: the product of all ticks and 1,000,000 can be too large.
    return wall_clock_ns + ticks / tsc_khz * 1'000'000 + ticks % tsc_khz * 1'000'000 / tsc_khz;
  }
};
static_assert(sizeof(RestorePage) == 112);
static_assert(offsetof(RestorePage, entropy) == 32);
static_assert(offsetof(RestorePage, tsc) == 96);

}  // namespace mayfly
