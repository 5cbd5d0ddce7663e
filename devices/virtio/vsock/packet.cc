#include "devices/virtio/vsock/packet.h"

namespace mayfly::vsock {

bool IsWellFormed(const PacketHeader& header, size_t size) {
  const bool addressed = header.dst_cid == kHostCid && header.type == kTypeStream;
  const bool whole = header.len <= size - sizeof(header) && header.len <= kMaxPayload;
  const bool length_fits_op = header.len == 0 || header.op == static_cast<uint16_t>(Op::kRw);
  return addressed && whole && length_fits_op;
}

}  // namespace mayfly::vsock
