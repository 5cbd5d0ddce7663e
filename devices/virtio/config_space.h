#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace mayfly {

// Fills `out` with the bytes of `config` from `offset`, as a driver reads them; what lies beyond
// the structure's end is left as it is.
inline void CopyConfig(std::span<const uint8_t> config, uint64_t offset, std::span<uint8_t> out) {
  if (offset >= config.size()) return;
  const auto part = config.subspan(offset);
  std::ranges::copy(part.first(std::min(part.size(), out.size())), out.begin());
}

}  // namespace mayfly
