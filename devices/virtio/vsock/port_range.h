#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace mayfly {

// Ports from `first` to `last`, both included.
struct PortRange {
  uint32_t first;
  uint32_t last;
  bool operator==(const PortRange&) const = default;
};

// To which ports a guest may connect; nothing means to all.
using PortPolicy = std::optional<std::vector<PortRange>>;

inline bool Allows(const PortPolicy& policy, uint32_t port) {
  return !policy || std::ranges::any_of(*policy, [port](const PortRange& range) {
    return range.first <= port && port <= range.last;
  });
}

}  // namespace mayfly
