#include "vmm/config/interface_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <array>
#include <charconv>

#include "base/json.h"

namespace mayfly {
namespace {

constexpr unsigned kAddressBits = 32;

std::string ToText(in_addr address) {
  std::array<char, INET_ADDRSTRLEN> text{};
  ::inet_ntop(AF_INET, &address, text.data(), text.size());
  return text.data();
}

std::string Netmask(unsigned prefix) {
  return ToText({htonl(prefix == 0 ? 0 : UINT32_MAX << (kAddressBits - prefix))});
}

}  // namespace

Result<std::string> ParseAddress(std::string_view text) {
  in_addr address{};
  if (::inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\": expected an address such as 172.31.0.2", Printable(text)));
  }
  return ToText(address);
}

Result<void> ParseAddressAndPrefix(std::string_view text, InterfaceAddress* to) {
  const size_t slash = std::min(text.find('/'), text.size());
  const std::string_view number = text.substr(std::min(slash + 1, text.size()));
  unsigned prefix = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), prefix);
  if (error != std::errc() || end != number.data() + number.size() || prefix < 1 ||
      prefix > kAddressBits) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\": expected an address and a prefix, such as 172.31.0.2/30",
                            Printable(text)));
  }
  to->address = TRY(ParseAddress(text.substr(0, slash)));
  to->prefix = prefix;
  return {};
}

std::string KernelIpParameter(const InterfaceAddress& address, std::string_view interface) {
  std::string text = fmt::format("ip={}::{}:{}::{}:off", address.address, address.gateway,
                                 Netmask(address.prefix), interface);
  // The kernel takes two, for /proc/net/pnp.
  for (size_t i = 0; i < address.dns.size() && i < 2; ++i) text += ":" + address.dns[i];
  return text;
}

}  // namespace mayfly
