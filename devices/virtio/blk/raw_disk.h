#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "base/unique_fd.h"
#include "devices/virtio/blk/disk.h"

namespace mayfly {

// A raw disk image: a regular file or a block device, byte for byte. The format is never guessed
// from the contents, which the guest writes.
class RawDisk final : public Disk {
 public:
  // Locks the file (fcntl(2), open file description locks) as long as it is open: against writers
  // if `read_only`, else against everybody. kPermission if somebody else has it locked.
  static Result<std::unique_ptr<RawDisk>> Open(const std::string& path, bool read_only);
  // The same with a descriptor that somebody else has opened, with the access mode to match: one
  // that can write is refused for a read-only disk. `name` is for errors.
  static Result<std::unique_ptr<RawDisk>> Create(UniqueFd fd, std::string name, bool read_only);
  RawDisk(const RawDisk&) = delete;
  RawDisk& operator=(const RawDisk&) = delete;

  [[nodiscard]] const DiskInfo& info() const override { return info_; }
  // kCorrupt if the file has become shorter.
  Result<void> Read(std::span<const iovec> to, uint64_t offset) override;
  Result<void> Write(std::span<const iovec> from, uint64_t offset) override;
  Result<void> Flush() override;
  Result<void> Discard(uint64_t offset, uint64_t length) override;
  Result<void> WriteZeroes(uint64_t offset, uint64_t length, bool may_unmap) override;
  bool ReadNow(std::span<const iovec> to, uint64_t offset) override;

  // For an engine that makes the system calls itself.
  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  RawDisk(UniqueFd fd, std::string name, const DiskInfo& info)
      : fd_(std::move(fd)), name_(std::move(name)), info_(info) {}
  Result<void> CheckWritable(std::string_view what) const;

  const UniqueFd fd_;
  const std::string name_;
  const DiskInfo info_;
  bool flush_failed_ = false;
  // Cleared when the file system turns out not to know RWF_NOWAIT.
  std::atomic<bool> can_read_now_{true};
};

// fallocate(2)'s modes for what a disk is told; both leave the file's size as it is.
int DiscardMode();
int WriteZeroesMode(bool may_unmap);

// iovecs of `length` zero bytes, all of them the same memory; to write where fallocate(2) cannot.
std::vector<iovec> ZeroIovecs(uint64_t length);

}  // namespace mayfly
