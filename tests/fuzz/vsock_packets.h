#pragma once

#include <array>

#include "base/bytes.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fuzz/hostile_driver.h"

namespace mayfly {

inline constexpr uint64_t kFuzzGuestCid = 3;

// A packet of the guest's: mostly one that the device has to look at closely.
inline void SubmitPacket(ByteReader& in, HostileDriver& driver, uint32_t host_port) {
  constexpr size_t kTransmitQueue = 1;
  const auto shape = in.Take<uint8_t>();
  vsock::PacketHeader header{};
  header.src_cid = (shape & 0x40) != 0 && in.Below(4) == 0 ? in.Take<uint64_t>() : kFuzzGuestCid;
  header.dst_cid = (shape & 0x40) != 0 && in.Below(4) == 0 ? in.Take<uint64_t>() : vsock::kHostCid;
  header.src_port = in.Below(4);
  header.dst_port = host_port;
  header.len = (shape & 0x20) != 0 ? in.Take<uint16_t>() : 0;
  if ((shape & 0x10) != 0) header.len = in.Take<uint32_t>();
  header.type = (shape & 0x80) != 0 ? in.Take<uint8_t>() : vsock::kTypeStream;
  header.op = shape & 0xf;
  header.flags = in.Below(5);
  header.buf_alloc = in.Below(4) == 0 ? in.Take<uint32_t>() : 256 * in.Take<uint8_t>();
  header.fwd_cnt = in.Below(4) == 0 ? in.Take<uint32_t>() : in.Take<uint8_t>();
  driver.Submit(in, kTransmitQueue, BytesOf(header));
}

}  // namespace mayfly
