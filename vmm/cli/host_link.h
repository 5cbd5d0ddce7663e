#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

// An IPv4 address and its network's prefix, in host byte order.
struct Ipv4Network {
  uint32_t address = 0;
  unsigned prefix = 0;

  bool operator==(const Ipv4Network&) const = default;

  // "172.31.0.1/30" of a network with room for a guest besides. Errors are kInvalidArgument.
  static Result<Ipv4Network> Parse(std::string_view text);
  [[nodiscard]] uint32_t mask() const { return UINT32_MAX << (32 - prefix); }
  [[nodiscard]] std::string ToText() const;  // "172.31.0.1/30"
};

std::string Ipv4Text(uint32_t address);

// What `mayfly net up` sets up for one guest: a tap, by itself (point to point) or on a bridge, and
// the way out.
struct HostLink {
  static constexpr size_t kMostName = 15;       // IFNAMSIZ, less the zero.
  static constexpr size_t kMostNamespace = 12;  // So that "mf-" fits in front.

  std::string tap{};
  std::string netns{};   // The network namespace to do it in; empty: the current one.
  std::string bridge{};  // Empty: point to point.
  Ipv4Network host{};    // The host's end: of the tap, or of the bridge.
  uint16_t mtu = 1500;
  std::string user{};  // Who may attach to the tap besides root.
  bool nat = true;
  bool host_access = false;  // The guest may open connections to the host itself.

  // The interface that the guest's traffic comes from.
  [[nodiscard]] const std::string& interface() const { return bridge.empty() ? tap : bridge; }
  // Of a guest by itself: the other address of its network.
  [[nodiscard]] uint32_t guest() const;
  // What to give to --net. On a bridge the guest's address is for the user to choose.
  [[nodiscard]] std::string NetOption() const;
  // The host's end of the link out of `netns`.
  [[nodiscard]] std::string uplink() const { return "mf-" + netns; }
};

// Refuses what can be no name of an interface, a namespace or a user.
Result<void> CheckNames(const HostLink& link);

// The nftables commands that give `interface` its rules, replacing what it had: who is behind it
// gets out with the host's address, is not reached from outside, sends from no address that is not
// in `sources` ("172.31.0.2"), and does not reach the host itself unless it may.
std::string FilterRules(const std::string& interface, const std::string& sources, bool nat,
                        bool host_access);
std::string NoFilterRules(const std::string& interface);

}  // namespace mayfly
