#pragma once

#include <cstdint>

// Constants and layouts of the block device (virtio 1.2, section 5.2), named as there.
namespace mayfly::blk {

inline constexpr uint64_t kFeatureSegMax = 1ULL << 2;
inline constexpr uint64_t kFeatureReadOnly = 1ULL << 5;
inline constexpr uint64_t kFeatureBlockSize = 1ULL << 6;
inline constexpr uint64_t kFeatureFlush = 1ULL << 9;

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

inline constexpr uint32_t kIdLength = 20;

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
};
static_assert(sizeof(Config) == 24);

}  // namespace mayfly::blk
