#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// What the host process, a zygote and its clones say to each other, over SOCK_SEQPACKET sockets: a
// packet comes whole or not at all, so that nobody has to trust a length. Whoever reads a clone's
// packets reads them as a hostile guest's.
enum class PacketKind : uint32_t {
  // To a zygote, with the clone's end of a pair of sockets, and what else the clone is given.
  kClone,
  // From a zygote and from a clone: ready for more; or not, with a text and an ErrorCode.
  kReady,
  kFailed,
  // From a zygote on a clone's socket, the last packet: how it ended, as waitpid(2) says.
  kEnd,
  // To a clone: an invocation with its request id, timeout in milliseconds and the event's size;
  // then the event.
  kInvoke,
  kEvent,
  // From a clone: a line of its own log, with its LogLevel; text of the handler's, with invocation
  // and stream; parts of an answer or of an error document.
  kLine,
  kLog,
  kAnswer,
  // The end of an invocation, with handler_us, max_memory_bytes and log_dropped_bytes. Before it,
  // if the handler failed, its error's type and message.
  kErrorType,
  kErrorMessage,
  kDone,
  // From a bench's clone: a mark of the guest's, and when, in nanoseconds of CLOCK_MONOTONIC.
  kMark,
};

struct PacketHead {
  PacketKind kind{};
  uint32_t reserved = 0;
  std::array<uint64_t, 3> values{};
};

// More is cut, by whoever sends it; what cannot be cut is sent in parts.
inline constexpr size_t kMostPacketBytes = 32 << 10;
// A zygote is handed so many descriptors for a clone at most.
inline constexpr size_t kMostPacketFds = 4;

struct Packet {
  PacketHead head;
  std::vector<uint8_t> bytes;
  std::vector<UniqueFd> fds;

  [[nodiscard]] std::string text() const { return {bytes.begin(), bytes.end()}; }
};

Result<std::pair<UniqueFd, UniqueFd>> MakePacketSockets();

// With descriptors. SendPacket() does not wait if `wait` is false, and raises no SIGPIPE.
// ReceivePacket() gives nothing when the other end was closed.
Result<void> SendPacket(int to, const PacketHead& head, std::span<const uint8_t> bytes = {},
                        std::span<const int> fds = {}, bool wait = true);
Result<std::optional<Packet>> ReceivePacket(int from);

// A kFailed packet. Does not wait.
Result<void> ReportToHost(int to, const Error& error);

// With the system calls that a jailed clone has left, without descriptors. Any thread.
Result<void> WritePacket(int to, const PacketHead& head, std::span<const uint8_t> bytes = {});
Result<std::optional<Packet>> ReadPacket(int from);

}  // namespace mayfly
