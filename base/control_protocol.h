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
//
// An invocation ends in exactly one kDone or kError. A kError can follow kChunk frames too: they
// hold the error document as the handler wrote it. The JSON objects, with what may be left out in
// brackets; members that a side does not know it ignores:
//
//   kHello   {version, init: mayfly's version}
//   kLoad    {name, kind: "native" | "bootstrap", handler, [environment: {NAME: value}],
//            [memory_mib], [timeout_ms = 3000], [init_timeout_ms = 10000], [version = "$LATEST"],
//            [wall_clock_ns: the guest's clock is set to it], [device = "/dev/vda"],
//            [network: [{interface: "eth0", address: "172.31.0.2", prefix: 30, [gateway],
//            [dns: [address]]}]], [snapshot = false: the machine will be snapshotted]}
//   kReady   {boot_us: since the kernel's start, load_us: since kLoad, awaits_restore: the handler
//            takes events only after a snapshot}
//   kInvoke  {request_id: of A-Z a-z 0-9 -, size: of the event, [timeout_ms: of the function],
//            [deadline_ms: since the epoch, told to the handler], [trace_id], [client_context],
//            [cognito_identity], [function_arn]}; the deadline runs from this frame on
//   kDone    {duration_us: from the event's last byte, max_memory_bytes, log_dropped_bytes}
//   kError   {errorType, errorMessage, [stackTrace: [text]], reusable: the handler can take another
//            event, document_bytes: in the kChunk frames before, and kDone's members}
//   kLog     no JSON: a LogStream byte, then text; whole lines where they are short enough
//   kSnapshot {}: make ready for a snapshot. No frame answers it, but the doorbell of
//            base/restore_page.h, or a kError with invocation 0 if there is no snapshot to be taken
//   kRestore {[network: as in kLoad]}: the first frame of a life whose restore page says that there
//            is one. If a life cannot begin: kError "Runtime.RestoreError" with invocation 0, and
//            the machine's end
namespace mayfly::control {

inline constexpr uint16_t kVersion = 1;
// The guest connects to this port of the host (CID 2); the VMM itself is the other end.
inline constexpr uint32_t kPort = 1024;
// A frame's payload. Bounds what either side buffers of the other's.
inline constexpr uint32_t kMaxPayload = 64 * 1024;
// An event and an answer, the limit that the Lambda Invoke API documents for synchronous calls.
inline constexpr uint64_t kMaxEvent = uint64_t{6} * 1024 * 1024;
inline constexpr uint64_t kMaxAnswer = uint64_t{6} * 1024 * 1024;

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
  kSnapshot = 11,
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
  // Bytes of a frame are here that is not whole yet.
  [[nodiscard]] bool partial() const { return consumed_ < buffer_.size(); }

 private:
  std::vector<uint8_t> buffer_;
  size_t consumed_ = 0;
};

}  // namespace mayfly::control
