#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/identity/generation_id.h"
#include "devices/virtio/net/net_state.h"

namespace CLI {
class App;
}

namespace mayfly {

// Who a machine that is restored is, where it is not to be as by default: --override.
struct OverrideOptions {
  static constexpr size_t kMostNets = 8;

  std::map<size_t, MacAddress> macs{};  // By the network device's number.
  std::optional<uint32_t> cid{};
  std::optional<GenerationGuid> generation{};
  // Of the restore page. The guest's random numbers are then not fresh: for tests.
  std::optional<std::array<uint8_t, 64>> entropy{};

  bool operator==(const OverrideOptions&) const = default;
};

// Declares the option of a subcommand; `texts` must outlive `command`.
void AddOverrideOption(CLI::App& command, std::vector<std::string>& texts);

// "KEY=VALUE" each: netN.mac=MAC, vsock.cid=N, generation=32 hexadecimal digits, entropy=128 of
// them. Errors are kInvalidArgument and name the key.
Result<OverrideOptions> ParseOverrides(const std::vector<std::string>& texts);

}  // namespace mayfly
