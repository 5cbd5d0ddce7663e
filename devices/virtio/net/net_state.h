#pragma once

#include <array>
#include <cstdint>

namespace mayfly {

using MacAddress = std::array<uint8_t, 6>;

// What the guest reads of its network device. Configuration at boot, and state in a snapshot.
struct NetState {
  static constexpr uint16_t kLeastMtu = 68;  // Virtio 1.2, section 5.1.4.1.

  MacAddress mac{};
  uint16_t mtu = 0;  // 0: not offered; the driver takes 1500.
  bool link_up = true;

  bool operator==(const NetState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("mac", &NetState::mac);
    visit("mtu", &NetState::mtu);
    visit("link_up", &NetState::link_up);
  }
};

}  // namespace mayfly
