#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "base/result.h"

namespace mayfly {

// The start of an overlay's layer file (docs/disks.md), little-endian. What follows is where the
// disk's size says:
//
//   0        header
//   4096     bitmap, a bit a block: 1 if the block is in this file; to a multiple of 4096
//   then     the blocks, each in the place that it has on the disk; sparse
struct LayerHeader {
  static constexpr std::array<char, 8> kMagic{'m', 'f', 'l', 'y', 'l', 'a', 'y', 'r'};
  static constexpr uint32_t kVersion = 1;
  static constexpr uint32_t kBlockSize = 4096;
  // Of a disk, because its bitmap is kept in memory: 128 MiB then.
  static constexpr uint64_t kMostDiskBytes = 4ULL << 40;

  std::array<char, 8> magic;
  uint32_t version;
  uint32_t block_size;
  uint64_t disk_size;
  uint64_t bitmap_offset;
  uint64_t data_offset;
  uint64_t file_size;

  // What the header of a layer for a disk of this size says.
  static LayerHeader For(uint64_t disk_size);
  [[nodiscard]] uint64_t block_count() const { return (disk_size + kBlockSize - 1) / kBlockSize; }
  [[nodiscard]] uint64_t bitmap_size() const { return data_offset - bitmap_offset; }
};
static_assert(sizeof(LayerHeader) == 48);

// kCorrupt, naming the field and both values, if a header that was read is not `expected`.
Result<void> CheckLayerHeader(const LayerHeader& header, const LayerHeader& expected,
                              const std::string& name);

}  // namespace mayfly
