#pragma once

#include <cstddef>
#include <cstdint>

// What goes over the vsock queues (virtio 1.2, section 5.10.6).
namespace mayfly::vsock {

struct [[gnu::packed]] PacketHeader {
  uint64_t src_cid;
  uint64_t dst_cid;
  uint32_t src_port;
  uint32_t dst_port;
  uint32_t len;
  uint16_t type;
  uint16_t op;
  uint32_t flags;
  uint32_t buf_alloc;
  uint32_t fwd_cnt;
};
static_assert(sizeof(PacketHeader) == 44);

enum class Op : uint16_t {
  kInvalid = 0,
  kRequest = 1,
  kResponse = 2,
  kRst = 3,
  kShutdown = 4,
  kRw = 5,
  kCreditUpdate = 6,
  kCreditRequest = 7,
};

inline constexpr uint16_t kTypeStream = 1;
inline constexpr uint32_t kShutdownReceive = 1 << 0;
inline constexpr uint32_t kShutdownSend = 1 << 1;

// The host's own context id (5.10.4).
inline constexpr uint64_t kHostCid = 2;

// The payload of one packet, either way. Linux splits at 64 KiB as well.
inline constexpr uint32_t kMaxPayload = 64 * 1024;

// What goes over the event queue (5.10.6.7): here only a transport reset, after which the driver
// reads its CID again and all its connections are gone.
struct Event {
  uint32_t id;
};
inline constexpr uint32_t kEventTransportReset = 0;

// Whether a packet of the guest's of `size` bytes, header included, is for the host, and its
// payload is whole, allowed to be so long, and allowed with its operation.
bool IsWellFormed(const PacketHeader& header, size_t size);

}  // namespace mayfly::vsock
