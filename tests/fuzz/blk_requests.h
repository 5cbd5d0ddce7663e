#pragma once

#include <array>

#include "base/bytes.h"
#include "devices/virtio/blk/blk_abi.h"
#include "tests/fuzz/hostile_driver.h"

namespace mayfly {

// A block request of any type, mostly near or on the disk of some twenty sectors.
inline void SubmitBlkRequest(ByteReader& in, HostileDriver& driver, size_t queue) {
  constexpr std::array<uint32_t, 8> kTypes{blk::kTypeIn,      blk::kTypeOut,        blk::kTypeIn,
                                           blk::kTypeOut,     blk::kTypeFlush,      blk::kTypeGetId,
                                           blk::kTypeDiscard, blk::kTypeWriteZeroes};
  struct {
    blk::RequestHeader header;
    std::array<blk::RangeSegment, 2> ranges;
  } request{};
  const unsigned type = in.Below(kTypes.size() + 1);
  request.header.type = type < kTypes.size() ? kTypes[type] : in.Take<uint32_t>();
  request.header.sector = in.Below(16) == 0 ? in.Take<uint64_t>() : in.Below(20);
  size_t ranges = 0;
  if (request.header.type == blk::kTypeDiscard || request.header.type == blk::kTypeWriteZeroes) {
    ranges = 1 + in.Below(8) / 7;
    for (blk::RangeSegment& range : request.ranges) {
      range.sector = in.Below(16) == 0 ? in.Take<uint64_t>() : in.Below(20);
      range.num_sectors = in.Below(16) == 0 ? in.Take<uint32_t>() : in.Below(20);
      range.flags = in.Below(3);
    }
  }
  driver.Submit(
      in, queue,
      BytesOf(request).first(sizeof(request.header) + ranges * sizeof(blk::RangeSegment)));
}

}  // namespace mayfly
