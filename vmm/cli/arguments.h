#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/vsock/port_range.h"

// The values of command line options. Errors are kInvalidArgument and quote what was given;
// the caller adds the option's name.
namespace mayfly {

// A size of memory in MiB: "512M", "2G" (also MiB, GiB), or a plain number of MiB.
Result<uint64_t> ParseMemoryMib(std::string_view text, uint64_t least_mib, uint64_t most_mib);

// A time in milliseconds: "1500ms", "3s", "2m", or a plain number of seconds.
Result<uint64_t> ParseDurationMs(std::string_view text, uint64_t least_ms, uint64_t most_ms);

// A plain decimal number.
Result<uint64_t> ParseCount(std::string_view text, uint64_t least, uint64_t most);

// "RATE" or "RATE:BURST", a second: "500", "10M", "10M:1M" with powers of 1024.
Result<RateLimit> ParseRateLimit(std::string_view text);

// Ports of vsock: "5000", "1024-2000;5000", or "none".
Result<std::vector<PortRange>> ParsePortRanges(std::string_view text);

// Refuses more memory than this host has.
Result<void> CheckHostMemory(uint64_t mib);

// Refuses what the kernel would cut, or a control character.
Result<void> CheckCommandLine(std::string_view command_line);

// Refuses a path that cannot be a Unix socket's, or not with the longest _PORT behind it.
Result<void> CheckSocketPath(std::string_view path);

}  // namespace mayfly
