#include "devices/legacy/i8042_reset.h"

#include <algorithm>

namespace mayfly {

void I8042Reset::Read(uint64_t /*offset*/, std::span<uint8_t> bytes) {
  std::ranges::fill(bytes, 0);
}

void I8042Reset::Write(uint64_t /*offset*/, std::span<const uint8_t> bytes) {
  if (bytes.size() == 1 && bytes[0] == kPulseReset) events_->Reset();
}

}  // namespace mayfly
