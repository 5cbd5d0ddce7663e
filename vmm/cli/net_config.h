#pragma once

#include <string>

#include "vmm/cli/net_options.h"
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

}  // namespace mayfly
