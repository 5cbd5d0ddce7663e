#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/net/net_state.h"
#include "vmm/config/interface_address.h"

namespace mayfly {

// One network device of a machine: a --net, or an element of "nets" in a configuration file.
// docs/machine-config.md describes the keys, which are the same in both.
struct NetOptions {
  static constexpr uint16_t kMostMtu = 65535;
  static constexpr size_t kMostNets = 8;

  std::string tap{};  // The tap's name; if there is a descriptor, only for errors.
  std::optional<int> fd{};
  std::optional<MacAddress> mac{};
  uint16_t mtu = 0;
  bool link_up = true;
  bool source_filter = false;
  RateLimits rx{};
  RateLimits tx{};
  InterfaceAddress address{};

  bool operator==(const NetOptions&) const = default;
};

// "KEY=VALUE,...". Errors are kInvalidArgument and name the key.
Result<NetOptions> ParseNet(std::string_view text);
// The same as a JSON object.
Result<NetOptions> ParseNet(const JsonValue& value);

// All of a command's --net.
Result<std::vector<NetOptions>> ParseNets(const std::vector<std::string>& texts);

// Refuses too many devices, two on one tap, and descriptors that are not there.
Result<void> CheckNets(const std::vector<NetOptions>& nets);

}  // namespace mayfly
