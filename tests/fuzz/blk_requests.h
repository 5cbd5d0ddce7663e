#pragma once

#include <array>

#include "base/bytes.h"
#include "devices/virtio/blk/blk_abi.h"
#include "tests/fuzz/hostile_driver.h"

namespace mayfly {

// A block request of any type, mostly near or on the disk of some twenty sectors.
inline void SubmitBlkRequest(ByteReader& in, HostileDriver& driver) {
  constexpr std::array<uint32_t, 8> kTypes{
      blk::kTypeIn,    blk::kTypeOut,   blk::kTypeIn,     blk::kTypeOut,
      blk::kTypeFlush, blk::kTypeGetId, 11 /* discard */, 77};
  blk::RequestHeader header{};
  header.type = kTypes[in.Below(kTypes.size())];
  header.sector = in.Below(16) == 0 ? in.Take<uint64_t>() : in.Below(20);
  driver.Submit(in, 0, BytesOf(header));
}

}  // namespace mayfly
