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

namespace mayfly {

// Who a machine that is restored is, where it is not to be as by default.
struct Overrides {
  static constexpr size_t kMostNets = 8;
  // 0 to 2 and the last one are reserved.
  static constexpr uint32_t kLeastCid = 3;
  static constexpr uint32_t kMostCid = 0xfffffffe;

  std::map<size_t, MacAddress> macs{};  // By the network device's number.
  std::optional<uint32_t> cid{};
  std::optional<GenerationGuid> generation{};
  // Of the restore page. The guest's random numbers are then not fresh: for tests.
  std::optional<std::array<uint8_t, 64>> entropy{};

  bool operator==(const Overrides&) const = default;
};

// "KEY=VALUE" each: netN.mac=MAC, vsock.cid=N, generation=32 hexadecimal digits, entropy=128 of
// them; of two with one key the second counts. Errors are kInvalidArgument and begin with the key.
Result<Overrides> ParseOverrides(const std::vector<std::string>& texts);

}  // namespace mayfly
