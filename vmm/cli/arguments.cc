#include "vmm/cli/arguments.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <span>

#include "base/arithmetic.h"
#include "base/json.h"
#include "vmm/cli/options.h"

namespace mayfly {
namespace {

// "_4294967295" and the NUL behind it.
constexpr size_t kLongestPortSuffix = 11;
constexpr size_t kMostSocketPath = sizeof(sockaddr_un::sun_path) - 1 - kLongestPortSuffix;

constexpr uint64_t kMostPort = UINT32_MAX;

struct Unit {
  std::string_view suffix;
  uint64_t factor;
};

constexpr Unit kMemoryUnits[] = {{"", 1}, {"M", 1}, {"MiB", 1}, {"G", 1024}, {"GiB", 1024}};
constexpr Unit kAmountUnits[] = {{"", 1}, {"K", 1ULL << 10}, {"M", 1ULL << 20}, {"G", 1ULL << 30}};
constexpr Unit kTimeUnits[] = {{"", 1000}, {"s", 1000}, {"ms", 1}, {"m", 60'000}};

// The number in front of one of `units`, times its factor; nothing if it is not that, or too large.
std::optional<uint64_t> ParseQuantity(std::string_view text, std::span<const Unit> units) {
  uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(end - text.size(), end, number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view suffix(rest, static_cast<size_t>(end - rest));
  const auto unit = std::ranges::find(units, suffix, &Unit::suffix);
  if (unit == units.end()) return std::nullopt;
  return CheckedMul(number, unit->factor);
}

std::unexpected<Error> Expected(std::string_view text, const std::string& what) {
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("\"{}\": expected {}", Printable(text), what));
}

Result<uint64_t> ParseAmount(std::string_view text) {
  const auto amount = ParseQuantity(text, kAmountUnits);
  if (!amount || *amount == 0) return Expected(text, "a number from 1 on, such as 500 or 10M");
  return *amount;
}

}  // namespace

Result<RateLimit> ParseRateLimit(std::string_view text) {
  const size_t colon = text.find(':');
  RateLimit limit;
  limit.per_second = TRY(ParseAmount(text.substr(0, colon)));
  if (colon != std::string_view::npos) limit.burst = TRY(ParseAmount(text.substr(colon + 1)));
  return limit;
}

Result<uint64_t> ParseMemoryMib(std::string_view text, uint64_t least_mib, uint64_t most_mib) {
  const auto mib = ParseQuantity(text, kMemoryUnits);
  if (!mib || *mib < least_mib || *mib > most_mib) {
    return Expected(text,
                    fmt::format("a size such as 512M or 2G, from {}M to {}M", least_mib, most_mib));
  }
  return *mib;
}

Result<uint64_t> ParseDurationMs(std::string_view text, uint64_t least_ms, uint64_t most_ms) {
  const auto milliseconds = ParseQuantity(text, kTimeUnits);
  if (!milliseconds || *milliseconds < least_ms || *milliseconds > most_ms) {
    return Expected(text, fmt::format("a time such as 3s or 500ms, from {}ms to {}s", least_ms,
                                      most_ms / 1000));
  }
  return *milliseconds;
}

Result<uint64_t> ParseCount(std::string_view text, uint64_t least, uint64_t most) {
  constexpr Unit kNone[] = {{"", 1}};
  const auto number = ParseQuantity(text, kNone);
  if (!number || *number < least || *number > most) {
    return Expected(text, fmt::format("a number from {} to {}", least, most));
  }
  return *number;
}

Result<std::vector<PortRange>> ParsePortRanges(std::string_view text) {
  std::vector<PortRange> ranges;
  if (text == "none") return ranges;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(';', start), text.size());
    const std::string_view range = text.substr(start, end - start);
    const size_t dash = std::min(range.find('-'), range.size());
    const auto first = TRY(ParseCount(range.substr(0, dash), 0, kMostPort));
    const auto last =
        dash == range.size() ? first : TRY(ParseCount(range.substr(dash + 1), first, kMostPort));
    ranges.push_back({static_cast<uint32_t>(first), static_cast<uint32_t>(last)});
    start = end + 1;
  }
  return ranges;
}

Result<void> CheckHostMemory(uint64_t mib) {
  struct sysinfo host{};
  if (::sysinfo(&host) != 0) return FailErrno("sysinfo");
  const uint64_t host_mib = (uint64_t{host.totalram} * host.mem_unit) >> 20;
  if (mib <= host_mib) return {};
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("memory: {} MiB for the guest, this host has {} MiB", mib, host_mib));
}

Result<void> CheckCommandLine(std::string_view command_line) {
  if (command_line.size() > VmOptions::kMostCommandLine) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("kernel command line: {} bytes, {} are the most allowed",
                            command_line.size(), VmOptions::kMostCommandLine));
  }
  if (std::ranges::any_of(command_line, [](char c) { return static_cast<uint8_t>(c) < 0x20; })) {
    return Fail(ErrorCode::kInvalidArgument, "kernel command line: holds a control character");
  }
  return {};
}

Result<void> CheckSocketPath(std::string_view path) {
  if (path.empty()) return Fail(ErrorCode::kInvalidArgument, "socket path: is empty");
  if (path.size() > kMostSocketPath) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("socket path \"{}\": {} bytes, {} are the most allowed",
                            Printable(path), path.size(), kMostSocketPath));
  }
  return {};
}

}  // namespace mayfly
