#include "vmm/capi/nets.h"

#include <fmt/format.h>

#include "vmm/capi/arguments.h"
#include "vmm/config/mac_address.h"

namespace mayfly::capi {
namespace {

Result<InterfaceAddress> ReadAddress(const mayfly_net& net) {
  InterfaceAddress address;
  const std::string text = TRY(ReadText(net.address, "address"));
  if (text.empty()) return address;
  TRY(ParseAddressAndPrefix(text, &address));
  const std::string gateway = TRY(ReadText(net.gateway, "gateway"));
  if (!gateway.empty()) address.gateway = TRY(ParseAddress(gateway));
  std::string_view rest;
  const std::string dns = TRY(ReadText(net.dns, "dns"));
  for (rest = dns; !rest.empty();) {
    const size_t comma = std::min(rest.find(','), rest.size());
    address.dns.push_back(TRY(ParseAddress(rest.substr(0, comma))));
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  if (address.dns.size() > InterfaceAddress::kMostDns) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("dns: {} are the most", InterfaceAddress::kMostDns));
  }
  return address;
}

Result<void> ReadNet(const mayfly_net& net, Nets* to) {
  NetConfig config;
  config.tap = TRY(ReadPath(net.tap, "tap"));
  const std::string mac = TRY(ReadText(net.mac, "mac"));
  if (!mac.empty()) config.mac = TRY(WithContext(ParseMac(mac), "mac"));
  to->addresses.push_back(TRY(ReadAddress(net)));
  to->configs.push_back(std::move(config));
  return {};
}

}  // namespace

Result<Nets> ReadNets(const mayfly_net* nets, size_t count) {
  Nets read;
  if (count > Nets::kMost || (nets == nullptr && count > 0)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("nets: expected an array of at most {}", Nets::kMost));
  }
  for (size_t i = 0; i < count; ++i) {
    TRY(WithContext(ReadNet(nets[i], &read), fmt::format("nets[{}]", i)));
  }
  return read;
}

}  // namespace mayfly::capi
