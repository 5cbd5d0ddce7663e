#pragma once

#include <cstdint>

namespace mayfly {

struct VsockState {
  uint64_t guest_cid = 3;

  bool operator==(const VsockState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("guest_cid", &VsockState::guest_cid);
  }
};

}  // namespace mayfly
