#pragma once

#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "devices/virtio/blk/disk.h"
#include "devices/virtio/blk/layer_format.h"
#include "devices/virtio/blk/raw_disk.h"

namespace mayfly {

// A disk that starts with the contents of a base and keeps what is written in a private, sparse
// layer file; the base is only read, and any number of overlays share it. Which blocks the layer
// has is known from a bitmap: in memory, and in the file as of the last Flush(), which writes it
// only after the blocks that it tells of are stable. So whatever happens, the layer is a state of
// the disk no older than that flush.
class OverlayDisk final : public Disk {
 public:
  // `path` is created if nothing is there; a file that is there has to be a layer for a base of
  // this size, or empty. Locks the base against writers and the layer against everybody.
  static Result<std::unique_ptr<OverlayDisk>> Open(std::unique_ptr<RawDisk> base,
                                                   const std::string& path);
  // The same with a descriptor for the layer, opened for reading and writing.
  static Result<std::unique_ptr<OverlayDisk>> Create(std::unique_ptr<RawDisk> base, UniqueFd layer,
                                                     const std::string& name);
  OverlayDisk(const OverlayDisk&) = delete;
  OverlayDisk& operator=(const OverlayDisk&) = delete;
  // Flushes.
  ~OverlayDisk() override;

  [[nodiscard]] const DiskInfo& info() const override { return info_; }
  Result<void> Read(std::span<const iovec> to, uint64_t offset) override;
  Result<void> Write(std::span<const iovec> from, uint64_t offset) override;
  Result<void> Flush() override;
  // Of blocks that the layer has; the base's stay as they are.
  Result<void> Discard(uint64_t offset, uint64_t length) override;
  Result<void> WriteZeroes(uint64_t offset, uint64_t length, bool may_unmap) override;
  bool ReadNow(std::span<const iovec> to, uint64_t offset) override;

 private:
  // Bytes of the disk that are all in the layer, or all in the base.
  struct Run {
    bool in_layer;
    uint64_t length;
  };

  OverlayDisk(std::unique_ptr<RawDisk> base, std::unique_ptr<RawDisk> layer,
              const LayerHeader& header);
  Result<void> LoadBitmap();
  [[nodiscard]] bool InLayer(uint64_t block) const;
  [[nodiscard]] Run RunAt(uint64_t offset, uint64_t most) const;
  // What a write of a part of this block leaves alone.
  Result<void> CopyUp(uint64_t block);
  Result<void> CopyUpEdges(uint64_t offset, uint64_t length);
  void MarkInLayer(uint64_t offset, uint64_t length);

  const std::unique_ptr<RawDisk> base_;
  const std::unique_ptr<RawDisk> layer_;
  const LayerHeader header_;
  const DiskInfo info_;
  // Bits are set with release order once the block is in the layer: ReadNow() reads them from
  // another thread.
  std::vector<std::atomic<uint64_t>> bitmap_;
  std::vector<bool> dirty_;  // Pages of the bitmap that the file does not have yet.
};

}  // namespace mayfly
