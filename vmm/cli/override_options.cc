#include "vmm/cli/override_options.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <charconv>
#include <span>
#include <string_view>

#include "base/json.h"
#include "vmm/cli/arguments.h"
#include "vmm/cli/options.h"
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

// The number in "netN.mac"; nothing if it is not that.
std::optional<size_t> NetOf(std::string_view key) {
  constexpr std::string_view kNet = "net";
  constexpr std::string_view kMac = ".mac";
  if (key.size() != kNet.size() + 1 + kMac.size() || !key.starts_with(kNet) ||
      !key.ends_with(kMac)) {
    return std::nullopt;
  }
  const char digit = key[kNet.size()];
  if (digit < '0' || digit >= static_cast<char>('0' + OverrideOptions::kMostNets)) {
    return std::nullopt;
  }
  return static_cast<size_t>(digit - '0');
}

Result<void> ParseOne(std::string_view key, std::string_view value, OverrideOptions* overrides) {
  if (const auto net = NetOf(key)) {
    overrides->macs[*net] = TRY(ParseMac(value));
    return {};
  }
  if (key == "vsock.cid") {
    overrides->cid = static_cast<uint32_t>(
        TRY(ParseCount(value, VsockOptions::kLeastCid, VsockOptions::kMostCid)));
    return {};
  }
  if (key == "generation") return ParseHex(value, overrides->generation.emplace());
  if (key == "entropy") return ParseHex(value, overrides->entropy.emplace());
  return Fail(ErrorCode::kInvalidArgument,
              "expected netN.mac, vsock.cid, generation or entropy, with =VALUE");
}

}  // namespace

void AddOverrideOption(CLI::App& command, std::vector<std::string>& texts) {
  command
      .add_option("--override", texts,
                  "Another identity than by default: netN.mac=MAC, vsock.cid=N, generation=GUID, "
                  "entropy=HEX; may be given several times")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
}

Result<OverrideOptions> ParseOverrides(const std::vector<std::string>& texts) {
  OverrideOptions overrides;
  for (const std::string& text : texts) {
    const size_t equals = std::min(text.find('='), text.size());
    const std::string_view key = std::string_view(text).substr(0, equals);
    const std::string_view value = std::string_view(text).substr(std::min(equals + 1, text.size()));
    TRY(WithContext(ParseOne(key, value, &overrides),
                    fmt::format("--override: {}", Printable(key))));
  }
  return overrides;
}

}  // namespace mayfly
