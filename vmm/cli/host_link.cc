#include "vmm/cli/host_link.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/json.h"
#include "vmm/config/interface_address.h"

namespace mayfly {
namespace {

constexpr unsigned kMostPrefix = 30;

// Goes into commands, files and rules as it is.
Result<void> CheckName(std::string_view what, const std::string& name, size_t most) {
  const bool plain = std::ranges::all_of(name, [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_' || c == '.';
  });
  if (!name.empty() && name.size() <= most && plain &&
      std::isalnum(static_cast<unsigned char>(name[0])) != 0) {
    return {};
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{} \"{}\": expected 1 to {} of the characters a-z A-Z 0-9 - _ . with a "
                          "letter or digit in front",
                          what, Printable(name), most));
}

}  // namespace

std::string Ipv4Text(uint32_t address) {
  return fmt::format("{}.{}.{}.{}", address >> 24, address >> 16 & 0xff, address >> 8 & 0xff,
                     address & 0xff);
}

Result<Ipv4Network> Ipv4Network::Parse(std::string_view text) {
  InterfaceAddress parsed;
  TRY(ParseAddressAndPrefix(text, &parsed));
  in_addr address{};
  ::inet_pton(AF_INET, parsed.address.c_str(), &address);
  const Ipv4Network network{ntohl(address.s_addr), parsed.prefix};
  const uint32_t host = network.address & ~network.mask();
  if (network.prefix > kMostPrefix || network.prefix < 8 || host == 0 || host == ~network.mask()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\": expected a host's address in a network of 8 to {} bits, such "
                            "as 172.31.0.1/30",
                            Printable(text), kMostPrefix));
  }
  return network;
}

std::string Ipv4Network::ToText() const { return fmt::format("{}/{}", Ipv4Text(address), prefix); }

uint32_t HostLink::guest() const {
  const uint32_t next = host.address + 1;
  return (next & ~host.mask()) == ~host.mask() ? host.address - 1 : next;
}

std::string HostLink::NetOption() const {
  std::string option = "tap=" + tap;
  if (mtu != 1500) option += fmt::format(",mtu={}", mtu);
  if (bridge.empty()) option += fmt::format(",address={}/{}", Ipv4Text(guest()), host.prefix);
  if (bridge.empty()) option += ",gateway=" + Ipv4Text(host.address);
  return option;
}

Result<void> CheckNames(const HostLink& link) {
  TRY(CheckName("tap", link.tap, HostLink::kMostName));
  if (!link.bridge.empty()) TRY(CheckName("bridge", link.bridge, HostLink::kMostName));
  if (!link.netns.empty()) TRY(CheckName("netns", link.netns, HostLink::kMostNamespace));
  if (!link.user.empty()) TRY(CheckName("user", link.user, 32));
  return {};
}

std::string NoFilterRules(const std::string& interface) {
  // Added first, because one that is not there cannot be deleted.
  return fmt::format("add table inet mayfly-{0}; delete table inet mayfly-{0};", interface);
}

std::string FilterRules(const std::string& interface, const std::string& sources, bool nat,
                        bool host_access) {
  const std::string host_rules = host_access ? ""
                                             : fmt::format(R"(
    iifname "{0}" ct state established,related accept
    iifname "{0}" icmp type echo-request accept
    iifname "{0}" drop)",
                                                           interface);
  const std::string nat_rules = nat ? fmt::format(R"(
    ip saddr {1} oifname != "{0}" masquerade)",
                                                  interface, sources)
                                    : "";
  return NoFilterRules(interface) + fmt::format(R"(
table inet mayfly-{0} {{
  chain prerouting {{
    type filter hook prerouting priority raw; policy accept;
    iifname "{0}" ip saddr != {1} drop
  }}
  chain input {{
    type filter hook input priority filter; policy accept;{2}
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    oifname "{0}" ct state established,related accept
    oifname "{0}" drop
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;{3}
  }}
}})",
                                                interface, sources, host_rules, nat_rules);
}

}  // namespace mayfly
