#include "devices/virtio/blk/blk_request.h"

#include <optional>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "devices/virtio/blk/blk_abi.h"

namespace mayfly {
namespace {

constexpr BlkAnswer kIoError{blk::kStatusIoError};
constexpr BlkAnswer kUnsupported{blk::kStatusUnsupported};

// The byte offset of `length` bytes at `sector`, if they are in the disk and at most `most`.
std::optional<uint64_t> Place(uint64_t sector, uint64_t length, uint64_t most,
                              const BlkLimits& limits) {
  constexpr uint64_t kSector = BlkLimits::kSectorSize;
  if (length % kSector != 0 || length > most ||
      !RangeFits(sector, length / kSector, limits.capacity_sectors)) {
    return std::nullopt;
  }
  return sector * kSector;  // Cannot wrap: it is inside the disk.
}

DecodedBlkRequest DecodeTransfer(const DescriptorChain& chain, const GuestMemory& memory,
                                 const BlkLimits& limits, const blk::RequestHeader& header) {
  const bool write = header.type == blk::kTypeOut;
  if (write && limits.read_only) return kIoError;
  const size_t length =
      write ? chain.readable_size() - sizeof(header) : size_t{chain.writable_size()} - 1;
  const auto offset = Place(header.sector, length, BlkLimits::kMaxRequestBytes, limits);
  if (!offset) return kIoError;
  if (length == 0) return BlkAnswer{blk::kStatusOk};
  BlkRequest request;
  request.operation = write ? BlkOperation::kWrite : BlkOperation::kRead;
  request.offset = *offset;
  request.length = length;
  request.iovecs = write ? chain.ReadableIovecs(memory, sizeof(header), length)
                         : chain.WritableIovecs(memory, 0, length);
  return request;
}

// One segment exactly, as max_discard_seg and max_write_zeroes_seg say.
DecodedBlkRequest DecodeRange(const DescriptorChain& chain, const GuestMemory& memory,
                              const BlkLimits& limits, const blk::RequestHeader& header) {
  if (limits.read_only) return kIoError;
  blk::RangeSegment segment{};
  if (chain.readable_size() != sizeof(header) + sizeof(segment)) return kIoError;
  if (chain.CopyFrom(memory, sizeof(header), MutableBytesOf(segment)) != sizeof(segment)) {
    return kIoError;
  }
  const bool discard = header.type == blk::kTypeDiscard;
  // A discard has no flags, not even unmap (5.2.6.2).
  if ((segment.flags & ~(discard ? 0 : blk::kRangeUnmap)) != 0) return kUnsupported;
  const uint64_t length = segment.num_sectors * BlkLimits::kSectorSize;
  const auto offset =
      Place(segment.sector, length,
            discard ? BlkLimits::kMaxDiscardBytes : BlkLimits::kMaxZeroBytes, limits);
  if (!offset) return kIoError;
  if (length == 0) return BlkAnswer{blk::kStatusOk};
  BlkRequest request;
  request.operation = discard ? BlkOperation::kDiscard : BlkOperation::kWriteZeroes;
  request.may_unmap = (segment.flags & blk::kRangeUnmap) != 0;
  request.offset = *offset;
  request.length = length;
  return request;
}

}  // namespace

DecodedBlkRequest DecodeBlkRequest(const DescriptorChain& chain, const GuestMemory& memory,
                                   const BlkLimits& limits) {
  blk::RequestHeader header{};
  if (chain.CopyFrom(memory, 0, MutableBytesOf(header)) != sizeof(header)) return kIoError;
  switch (header.type) {
    case blk::kTypeIn:
    case blk::kTypeOut:
      return DecodeTransfer(chain, memory, limits, header);
    case blk::kTypeFlush: {
      BlkRequest request;
      request.operation = BlkOperation::kFlush;
      return request;
    }
    case blk::kTypeGetId:
      if (chain.writable_size() - 1 < blk::kIdLength) return kIoError;
      return BlkGetId{};
    case blk::kTypeDiscard:
    case blk::kTypeWriteZeroes:
      return DecodeRange(chain, memory, limits, header);
    default:
      return kUnsupported;
  }
}

}  // namespace mayfly
