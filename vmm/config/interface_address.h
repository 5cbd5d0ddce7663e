#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

// The IPv4 settings of a guest's network interface.
struct InterfaceAddress {
  static constexpr size_t kMostDns = 3;  // As resolv.conf(5) has it.

  std::string address{};  // "172.31.0.2"; empty: the guest configures itself.
  unsigned prefix = 0;    // Bits of the network, 1 to 32.
  std::string gateway{};  // Empty: none.
  std::vector<std::string> dns{};

  bool operator==(const InterfaceAddress&) const = default;
};

// "172.31.0.2/30", into address and prefix. Errors are kInvalidArgument.
Result<void> ParseAddressAndPrefix(std::string_view text, InterfaceAddress* to);
// One IPv4 address, as it is normally written.
Result<std::string> ParseAddress(std::string_view text);

// For Linux's command line (Documentation/admin-guide/nfs/nfsroot.rst):
// "ip=172.31.0.2::172.31.0.1:255.255.255.252::eth0:off:1.1.1.1".
std::string KernelIpParameter(const InterfaceAddress& address, std::string_view interface);

}  // namespace mayfly
