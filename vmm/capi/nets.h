#pragma once

#include <span>
#include <string>
#include <vector>

#include "vmm/capi/status.h"
#include "vmm/config/interface_address.h"
#include "vmm/include/mayfly.h"
#include "vmm/machine/machine_config.h"

namespace mayfly::capi {

// A caller's network devices, as a machine's configuration and as what the guest's init is told.
struct Nets {
  // Two pages hold them in the guest's address space; a function has no use for more.
  static constexpr size_t kMost = 8;

  std::vector<NetConfig> configs;
  std::vector<InterfaceAddress> addresses;
};

// `settings` is null, or an array as long. Errors name the device and the member.
std::expected<Nets, Failure> ReadNets(const mayfly_net* nets, size_t count,
                                      const mayfly_net_settings* settings = nullptr);

// Their names, for a snapshot.
std::vector<std::string> TapsOf(const Nets& nets);

}  // namespace mayfly::capi
