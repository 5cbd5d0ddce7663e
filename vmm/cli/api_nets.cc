#include "vmm/cli/api_nets.h"

#include <fmt/format.h>

namespace mayfly {
namespace {

mayfly_rate RateOf(const RateLimit& limit) {
  return {limit.per_second, limit.burst, limit.one_time_burst};
}

const char* OrNull(const std::string& text) { return text.empty() ? nullptr : text.c_str(); }

}  // namespace

ApiNets::ApiNets(const std::vector<NetOptions>& nets) {
  texts_.reserve(nets.size());
  for (const NetOptions& net : nets) Add(net);
}

void ApiNets::Add(const NetOptions& net) {
  const InterfaceAddress& address = net.address;
  Texts& texts = texts_.emplace_back();
  if (net.mac) texts.mac = fmt::format("{:02x}", fmt::join(*net.mac, ":"));
  if (!address.address.empty()) {
    texts.address = fmt::format("{}/{}", address.address, address.prefix);
  }
  texts.gateway = address.gateway;
  texts.dns = fmt::format("{}", fmt::join(address.dns, ","));
  nets_.push_back({OrNull(net.tap), OrNull(texts.mac), OrNull(texts.address), OrNull(texts.gateway),
                   OrNull(texts.dns)});
  mayfly_net_settings settings = MAYFLY_NET_SETTINGS_INIT;
  settings.fd = net.fd.value_or(0);
  settings.mtu = net.mtu;
  settings.link_down = net.link_up ? 0 : 1;
  settings.filter_source = net.source_filter ? 1 : 0;
  settings.receive_bytes = RateOf(net.rx.bytes);
  settings.receive_frames = RateOf(net.rx.operations);
  settings.transmit_bytes = RateOf(net.tx.bytes);
  settings.transmit_frames = RateOf(net.tx.operations);
  settings_.push_back(settings);
}

}  // namespace mayfly
