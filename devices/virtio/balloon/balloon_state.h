#pragma once

#include <cstdint>

namespace mayfly {

struct BalloonState {
  uint32_t target_pages = 0;  // Of 4 KiB.
  uint32_t actual_pages = 0;  // As the driver says; any value.
  bool deflate_on_oom = false;

  bool operator==(const BalloonState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("target_pages", &BalloonState::target_pages);
    visit("actual_pages", &BalloonState::actual_pages);
    visit("deflate_on_oom", &BalloonState::deflate_on_oom);
  }
};

}  // namespace mayfly
