#include "vmm/config/overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>

#include "base/json.h"
#include "vmm/config/mac_address.h"

namespace mayfly {
namespace {

// Exactly as many bytes, each two digits; dashes between them are for people.
Result<void> ParseHex(std::string_view text, std::span<uint8_t> bytes) {
  std::string digits(text);
  std::erase(digits, '-');
  bool good = digits.size() == 2 * bytes.size();
  for (size_t i = 0; good && i < bytes.size(); ++i) {
    const char* const start = digits.data() + 2 * i;
    good = std::from_chars(start, start + 2, bytes[i], 16).ptr == start + 2;
  }
  if (good) return {};
  return Fail(ErrorCode::kInvalidArgument, fmt::format("\"{}\": expected {} hexadecimal digits",
                                                       Printable(text), 2 * bytes.size()));
}

Result<uint32_t> ParseCid(std::string_view text) {
  uint32_t cid = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(end - text.size(), end, cid);
  if (error == std::errc() && rest == end && cid >= Overrides::kLeastCid &&
      cid <= Overrides::kMostCid) {
    return cid;
  }
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\": expected a number from {} to {}", Printable(text),
                          Overrides::kLeastCid, Overrides::kMostCid));
}

// The number in "netN.mac"; nothing if it is not that.
std::optional<size_t> NetOf(std::string_view key) {
  constexpr std::string_view kNet = "net";
  constexpr std::string_view kMac = ".mac";
  if (key.size() != kNet.size() + 1 + kMac.size() || !key.starts_with(kNet) ||
      !key.ends_with(kMac)) {
    return std::nullopt;
  }
  const char digit = key[kNet.size()];
  if (digit < '0' || digit >= static_cast<char>('0' + Overrides::kMostNets)) {
    return std::nullopt;
  }
  return static_cast<size_t>(digit - '0');
}

Result<void> ParseOne(std::string_view key, std::string_view value, Overrides* overrides) {
  if (const auto net = NetOf(key)) {
    overrides->macs[*net] = TRY(ParseMac(value));
    return {};
  }
  if (key == "vsock.cid") {
    overrides->cid = TRY(ParseCid(value));
    return {};
  }
  if (key == "generation") return ParseHex(value, overrides->generation.emplace());
  if (key == "entropy") return ParseHex(value, overrides->entropy.emplace());
  return Fail(ErrorCode::kInvalidArgument,
              "expected netN.mac, vsock.cid, generation or entropy, with =VALUE");
}

}  // namespace

Result<Overrides> ParseOverrides(const std::vector<std::string>& texts) {
  Overrides overrides;
  for (const std::string& text : texts) {
    const size_t equals = std::min(text.find('='), text.size());
    const std::string_view key = std::string_view(text).substr(0, equals);
    const std::string_view value = std::string_view(text).substr(std::min(equals + 1, text.size()));
    TRY(WithContext(ParseOne(key, value, &overrides), Printable(key)));
  }
  return overrides;
}

}  // namespace mayfly
