#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

// The frames that the VMM and mayfly-init exchange on the control channel, a byte stream.
// docs/control-protocol.md describes them for other implementations.
//
//   guest                                   host
//   kHello {version}                  ->
//                                     <-    kLoad {JSON: the function's description}
//   kReady {JSON: init timings}       ->              (or kError with invocation 0)
//                                     <-    kInvoke {JSON: request id, deadline, size}
//                                     <-    kChunk* {bytes of the event}
//   kLog* {stream, bytes}             ->
//   kChunk* {bytes of the answer}     ->
//   kDone {JSON: timings} or kError   ->
//                                     <-    kShutdown
namespace mayfly::control {

inline constexpr uint16_t kVersion = 1;
// The guest connects to this port of the host (CID 2); the VMM itself is the other end.
inline constexpr uint32_t kPort = 1024;
// A frame's payload. Bounds what either side buffers of the other's.
inline constexpr uint32_t kMaxPayload = 64 * 1024;
// An event and an answer, the limit that the Lambda Invoke API documents for synchronous calls.
inline constexpr uint64_t kMaxEvent = 6 * 1024 * 1024;
inline constexpr uint64_t kMaxAnswer = 6 * 1024 * 1024;

enum class FrameType : uint16_t {
  kHello = 1,
  kLoad = 2,
  kReady = 3,
  kInvoke = 4,
  kChunk = 5,
  kDone = 6,
  kError = 7,
  kLog = 8,
  kRestore = 9,
  kShutdown = 10,
};

// Little-endian on the wire, followed by `length` bytes of payload.
struct FrameHeader {
  uint32_t length;
  uint16_t type;
  uint16_t reserved;    // 0
  uint64_t invocation;  // 0 where no invocation is meant
};
static_assert(sizeof(FrameHeader) == 16);

// The first byte of a kLog payload.
enum class LogStream : uint8_t { kStdout = 1, kStderr = 2, kInit = 3 };

struct Frame {
  FrameType type;
  uint64_t invocation;
  std::vector<uint8_t> payload;
};

// The bytes of one frame. `payload` is at most kMaxPayload.
std::vector<uint8_t> Encode(FrameType type, uint64_t invocation, std::span<const uint8_t> payload);

// Cuts a byte stream into frames. Holds at most one incomplete frame beyond what was appended and
// not yet taken. After an error the stream cannot be used any more.
class FrameReader {
 public:
  void Append(std::span<const uint8_t> bytes);
  // The next whole frame, nothing if more bytes are needed, or kGuest if the header is not one of
  // ours: unknown type, length above kMaxPayload, reserved bits.
  Result<std::optional<Frame>> Next();

 private:
  std::vector<uint8_t> buffer_;
  size_t consumed_ = 0;
};

}  // namespace mayfly::control
