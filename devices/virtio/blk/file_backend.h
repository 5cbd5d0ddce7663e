#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "devices/virtio/blk/blk_backend.h"

namespace mayfly {

// A raw disk image: a regular file or a block device, byte for byte. The format is never guessed
// from the contents, which the guest writes.
class FileBackend final : public BlkBackend {
 public:
  // Locks the file (fcntl(2), open file description locks) as long as it is open: against writers
  // if `read_only`, else against everybody. kPermission if somebody else has it locked. `id` is
  // what the guest reads as the disk's serial number.
  static Result<std::unique_ptr<FileBackend>> Open(const std::string& path, bool read_only,
                                                   std::string_view id = {});
  // The same with a descriptor that somebody else has opened, with the access mode to match;
  // `name` is for errors.
  static Result<std::unique_ptr<FileBackend>> Create(UniqueFd fd, std::string name, bool read_only,
                                                     std::string_view id = {});
  FileBackend(const FileBackend&) = delete;
  FileBackend& operator=(const FileBackend&) = delete;

  [[nodiscard]] uint64_t size() const override { return size_; }
  [[nodiscard]] bool read_only() const override { return read_only_; }
  [[nodiscard]] std::string_view id() const override { return id_; }

  // kCorrupt if the file has become shorter.
  Result<void> Read(std::span<const iovec> to, uint64_t offset) override;
  Result<void> Write(std::span<const iovec> from, uint64_t offset) override;
  // After one failure every further one fails: the kernel reports a lost write only once, and
  // what was lost stays lost.
  Result<void> Flush() override;

 private:
  FileBackend(UniqueFd fd, std::string name, bool read_only, std::string_view id, uint64_t size)
      : fd_(std::move(fd)), name_(std::move(name)), read_only_(read_only), id_(id), size_(size) {}

  const UniqueFd fd_;
  const std::string name_;
  const bool read_only_;
  const std::string id_;
  const uint64_t size_;
  bool flush_failed_ = false;
};

}  // namespace mayfly
