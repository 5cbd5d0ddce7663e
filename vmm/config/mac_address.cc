#include "vmm/config/mac_address.h"

#include <fmt/format.h>

#include <charconv>

#include "base/json.h"

namespace mayfly {

Result<MacAddress> ParseMac(std::string_view text) {
  const auto expected = [text] {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("\"{}\": expected an address of one station, such as "
                            "02:00:00:00:00:01",
                            Printable(text)));
  };
  MacAddress mac{};
  if (text.size() != 3 * mac.size() - 1) return expected();
  for (size_t i = 0; i < mac.size(); ++i) {
    const char* const digits = text.data() + 3 * i;
    const auto [end, error] = std::from_chars(digits, digits + 2, mac[i], 16);
    const bool separated = i + 1 == mac.size() || digits[2] == ':';
    if (error != std::errc() || end != digits + 2 || !separated) return expected();
  }
  // Neither a group's nor nobody's.
  if ((mac[0] & 1) != 0 || mac == MacAddress{}) return expected();
  return mac;
}

}  // namespace mayfly
