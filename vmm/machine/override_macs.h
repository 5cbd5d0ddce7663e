#pragma once

#include <fmt/format.h>

#include <vector>

#include "vmm/config/overrides.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// Gives them the addresses that are overridden. kInvalidArgument for a device that is not there.
inline Result<void> OverrideMacs(const Overrides& overrides, std::vector<NetConfig>* nets) {
  for (const auto& [index, mac] : overrides.macs) {
    if (index >= nets->size()) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("override: net{}.mac: the snapshot has {} network devices", index,
                              nets->size()));
    }
    (*nets)[index].mac = mac;
  }
  return {};
}

}  // namespace mayfly
