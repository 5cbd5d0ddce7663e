#include "devices/virtio/blk/layer_format.h"

#include <fmt/format.h>

#include "base/arithmetic.h"

namespace mayfly {
namespace {

Result<void> CheckField(std::string_view field, uint64_t value, uint64_t expected,
                        const std::string& name) {
  if (value == expected) return {};
  return Fail(ErrorCode::kCorrupt,
              fmt::format("{}: {} is {} in the layer, expected {}", name, field, value, expected));
}

}  // namespace

LayerHeader LayerHeader::For(uint64_t disk_size) {
  LayerHeader header{};
  header.magic = kMagic;
  header.version = kVersion;
  header.block_size = kBlockSize;
  header.disk_size = disk_size;
  header.bitmap_offset = kBlockSize;
  const uint64_t bitmap_bytes = (header.block_count() + 7) / 8;
  header.data_offset = header.bitmap_offset + AlignUp<uint64_t>(bitmap_bytes, kBlockSize);
  header.file_size = header.data_offset + disk_size;
  return header;
}

Result<void> CheckLayerHeader(const LayerHeader& header, const LayerHeader& expected,
                              const std::string& name) {
  if (header.magic != expected.magic) {
    return Fail(ErrorCode::kCorrupt, name + ": is not an overlay's layer");
  }
  TRY(CheckField("version", header.version, expected.version, name));
  TRY(CheckField("block_size", header.block_size, expected.block_size, name));
  TRY(CheckField("disk_size", header.disk_size, expected.disk_size, name));
  TRY(CheckField("bitmap_offset", header.bitmap_offset, expected.bitmap_offset, name));
  TRY(CheckField("data_offset", header.data_offset, expected.data_offset, name));
  return CheckField("file_size", header.file_size, expected.file_size, name);
}

}  // namespace mayfly
