#pragma once

#include <fmt/format.h>

#include "vmm/cli/net_options.h"
#include "vmm/cli/override_options.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// The machine's part of a --net. Takes its descriptor: call it once.
inline NetConfig NetConfigOf(const NetOptions& options) {
  NetConfig config;
  config.fd.Reset(options.fd.value_or(-1));
  config.tap = options.tap.empty() ? "fd " + std::to_string(*options.fd) : options.tap;
  config.mac = options.mac;
  config.mtu = options.mtu;
  config.link_up = options.link_up;
  config.filter_source = options.source_filter;
  config.receive_limits = options.rx;
  config.transmit_limits = options.tx;
  return config;
}

// Gives them the addresses that are overridden. kInvalidArgument for a device that is not there.
inline Result<void> OverrideMacs(const OverrideOptions& overrides, std::vector<NetConfig>* nets) {
  for (const auto& [index, mac] : overrides.macs) {
    if (index >= nets->size()) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("--override: net{}.mac: the snapshot has {} network devices", index,
                              nets->size()));
    }
    (*nets)[index].mac = mac;
  }
  return {};
}

}  // namespace mayfly
