#include "devices/legacy/doorbell.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/restore_page.h"

namespace mayfly {

void Doorbell::Read(uint64_t /*offset*/, std::span<uint8_t> bytes) {
  std::ranges::fill(bytes, uint8_t{0});
}

void Doorbell::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset == kDoorbellDiscard && bytes.size() == sizeof(uint64_t)) {
    const auto run = LoadLe<uint64_t>(bytes);
    const auto count = static_cast<uint32_t>(run >> 32);
    // The vCPU cannot be paused while its pages are given back.
    if (discarded_ && count <= kDoorbellMostPages) discarded_(static_cast<uint32_t>(run), count);
    return;
  }
  if (offset != kDoorbellRing || bytes.size() != sizeof(uint32_t)) return;
  const auto value = LoadLe<uint32_t>(bytes);
  if (value != kDoorbellReady) {
    if (marked_) marked_(value);
  } else if (rung_) {
    rung_();
  }
}

}  // namespace mayfly
