#pragma once

#include <cstdint>

// Constants and layouts of the block device (virtio 1.2, section 5.2), named as there.
namespace mayfly::blk {

inline constexpr uint64_t kFeatureSegMax = 1ULL << 2;
inline constexpr uint64_t kFeatureReadOnly = 1ULL << 5;
inline constexpr uint64_t kFeatureBlockSize = 1ULL << 6;
inline constexpr uint64_t kFeatureFlush = 1ULL << 9;
inline constexpr uint64_t kFeatureTopology = 1ULL << 10;
inline constexpr uint64_t kFeatureMultiQueue = 1ULL << 12;
inline constexpr uint64_t kFeatureDiscard = 1ULL << 13;
inline constexpr uint64_t kFeatureWriteZeroes = 1ULL << 14;

// The start of a request's readable part; 5.2.6.
struct RequestHeader {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
static_assert(sizeof(RequestHeader) == 16);

inline constexpr uint32_t kTypeIn = 0;
inline constexpr uint32_t kTypeOut = 1;
inline constexpr uint32_t kTypeFlush = 4;
inline constexpr uint32_t kTypeGetId = 8;
inline constexpr uint32_t kTypeDiscard = 11;
inline constexpr uint32_t kTypeWriteZeroes = 13;

inline constexpr uint32_t kIdLength = 20;

// What follows the header of a discard or write zeroes request, once or more.
struct RangeSegment {
  uint64_t sector;
  uint32_t num_sectors;
  uint32_t flags;
};
static_assert(sizeof(RangeSegment) == 16);
inline constexpr uint32_t kRangeUnmap = 1;

// The last byte of a request's writable part.
inline constexpr uint8_t kStatusOk = 0;
inline constexpr uint8_t kStatusIoError = 1;
inline constexpr uint8_t kStatusUnsupported = 2;

// The start of the configuration space (5.2.4), as far as our features make it valid.
struct Config {
  uint64_t capacity;  // In sectors of 512 bytes, whatever blk_size says.
  uint32_t size_max;
  uint32_t seg_max;
  uint16_t cylinders;
  uint8_t heads;
  uint8_t sectors;
  uint32_t blk_size;
  uint8_t physical_block_exp;  // Logical blocks in a physical one, as a power of two.
  uint8_t alignment_offset;
  uint16_t min_io_size;  // Both in logical blocks.
  uint32_t opt_io_size;
  uint8_t writeback;
  uint8_t unused0;
  uint16_t num_queues;
  uint32_t max_discard_sectors;
  uint32_t max_discard_seg;
  uint32_t discard_sector_alignment;
  uint32_t max_write_zeroes_sectors;
  uint32_t max_write_zeroes_seg;
  uint8_t write_zeroes_may_unmap;
  uint8_t unused1[3];
  uint32_t max_secure_erase_sectors;  // 0: not offered.
};
static_assert(sizeof(Config) == 64);

}  // namespace mayfly::blk
