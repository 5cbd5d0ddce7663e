#pragma once

#include <cstdint>

namespace mayfly {

// What the guest knows of its disk and would not notice to have changed. A restored device must
// have a backend that agrees. The default value is a disk that no guest has seen yet.
struct BlkState {
  uint64_t capacity_sectors = 0;
  bool read_only = false;
  uint32_t block_size = 0;

  bool operator==(const BlkState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("capacity_sectors", &BlkState::capacity_sectors);
    visit("read_only", &BlkState::read_only);
    visit("block_size", &BlkState::block_size);
  }
};

}  // namespace mayfly
