#include "vmm/capi/nets.h"

#include <fmt/format.h>

#include "devices/virtio/net/net_state.h"
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

RateLimit LimitOf(const mayfly_rate& rate) {
  return {rate.per_second, rate.burst, rate.one_time_burst};
}

Result<UniqueFd> Duplicate(int fd) {
  if (fd < 0) return Fail(ErrorCode::kInvalidArgument, "negative");
  return DuplicateOrNone(fd);
}

Result<void> ReadNet(const mayfly_net& net, const mayfly_net_settings& settings, Nets* to) {
  constexpr uint32_t kLeastMtu = NetState::kLeastMtu;
  constexpr uint32_t kMostMtu = UINT16_MAX;
  NetConfig config;
  if (settings.fd != 0) config.fd = TRY(WithContext(Duplicate(settings.fd), "fd"));
  config.tap = TRY(ReadText(net.tap, "tap"));
  if (config.tap.empty() && !config.fd.valid()) {
    return Fail(ErrorCode::kInvalidArgument, "tap: a name or a descriptor is needed");
  }
  if (config.tap.empty()) config.tap = fmt::format("fd {}", settings.fd);
  const std::string mac = TRY(ReadText(net.mac, "mac"));
  if (!mac.empty()) config.mac = TRY(WithContext(ParseMac(mac), "mac"));
  if (settings.mtu != 0 && (settings.mtu < kLeastMtu || settings.mtu > kMostMtu)) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("mtu: {}, but {} to {} are possible",
                                                         settings.mtu, kLeastMtu, kMostMtu));
  }
  config.mtu = static_cast<uint16_t>(settings.mtu);
  config.link_up = settings.link_down == 0;
  config.filter_source = settings.filter_source != 0;
  config.receive_limits = {LimitOf(settings.receive_bytes), LimitOf(settings.receive_frames)};
  config.transmit_limits = {LimitOf(settings.transmit_bytes), LimitOf(settings.transmit_frames)};
  to->addresses.push_back(TRY(ReadAddress(net)));
  to->configs.push_back(std::move(config));
  return {};
}

// All begin with the same size, which is how far apart they are.
std::expected<mayfly_net_settings, Failure> SettingsAt(const mayfly_net_settings* settings,
                                                       size_t index) {
  mayfly_net_settings read{};
  if (settings == nullptr) return read;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(settings);
  const auto* const given =
      reinterpret_cast<const mayfly_net_settings*>(bytes + index * settings->size);
  Check copied = ReadOptions(given, &read);
  if (copied && read.size != settings->size) {
    copied = FailWith(MAYFLY_E_INVALID, "another size than the first one has");
  }
  if (!copied) {
    return FailWith(copied.error().code,
                    fmt::format("net_settings[{}]: {}", index, copied.error().text));
  }
  return read;
}

}  // namespace

std::expected<Nets, Failure> ReadNets(const mayfly_net* nets, size_t count,
                                      const mayfly_net_settings* settings) {
  Nets read;
  if (count > Nets::kMost || (nets == nullptr && count > 0)) {
    return FailWith(MAYFLY_E_INVALID,
                    fmt::format("nets: expected an array of at most {}", Nets::kMost));
  }
  if (count == 0 && settings != nullptr) {
    return FailWith(MAYFLY_E_INVALID, "net_settings: there are no nets");
  }
  for (size_t i = 0; i < count; ++i) {
    const mayfly_net_settings more = TRY(SettingsAt(settings, i));
    TRY(WithContext(ReadNet(nets[i], more, &read), fmt::format("nets[{}]", i)));
  }
  return read;
}

std::vector<std::string> TapsOf(const Nets& nets) {
  std::vector<std::string> taps;
  taps.reserve(nets.configs.size());
  // One that was inherited has no name that would mean anything later.
  for (const NetConfig& net : nets.configs) taps.push_back(net.fd.valid() ? "" : net.tap);
  return taps;
}

}  // namespace mayfly::capi
