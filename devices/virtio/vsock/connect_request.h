#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace mayfly {

// The port of "CONNECT PORT", which a client of HostSockets sends before a newline; decimal, and
// nothing in front or behind. Nothing if the request is another, or the port has over 32 bits.
std::optional<uint32_t> ParseConnectRequest(std::string_view request);

}  // namespace mayfly
