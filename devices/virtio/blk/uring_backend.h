#pragma once

#include <liburing.h>

#include <memory>
#include <optional>
#include <vector>

#include "devices/virtio/blk/blk_backend.h"
#include "devices/virtio/blk/iovec_cursor.h"
#include "devices/virtio/blk/raw_disk.h"

namespace mayfly {

// Carries out requests through an io_uring of its own: any number of them at a time, one system
// call for all that were submitted since the last Commit().
class UringBackend final : public BlkBackend {
 public:
  // Takes the disk, unless it fails: where the host has no io_uring or does not let us use it.
  static Result<std::unique_ptr<UringBackend>> Create(std::unique_ptr<RawDisk>* disk);
  UringBackend(const UringBackend&) = delete;
  UringBackend& operator=(const UringBackend&) = delete;
  ~UringBackend() override;

  [[nodiscard]] const DiskInfo& info() const override { return disk_->info(); }
  bool ReadNow(std::span<const iovec> to, uint64_t offset) override {
    return disk_->ReadNow(to, offset);
  }
  void Submit(BlkRequest request) override;
  void Commit() override;
  // The ring's own descriptor is readable as long as there are completions in it.
  [[nodiscard]] int completion_fd() const override { return ring_.ring_fd; }
  void Take(std::vector<BlkCompletion>* to) override;
  void Drain() override;

 private:
  // A request between Submit() and its completion. The kernel knows it by its index.
  struct Operation {
    BlkRequest request;
    IovecCursor cursor;
    // What is known without the disk; it goes around through the ring all the same.
    std::optional<Result<void>> outcome;
    int attempts = 0;                  // That ended in EINTR or EAGAIN, without any progress.
    io_uring_sqe* prepared = nullptr;  // While it is not the kernel's yet.
  };

  UringBackend(std::unique_ptr<RawDisk> disk, const io_uring& ring)
      : disk_(std::move(disk)), ring_(ring) {}

  [[nodiscard]] std::optional<Result<void>> OutcomeOf(const Operation& operation) const;
  void Prepare(size_t index);
  void FillEntry(io_uring_sqe* entry, const Operation& operation) const;
  // Moves what the kernel has completed to completions_.
  void Reap();
  void Advance(size_t index, int32_t result);
  Result<void> FailureOf(const Operation& operation, int error);
  void Finish(size_t index, Result<void> result);
  void MarkSubmitted(size_t count);
  // The kernel does not take what was prepared: fails it.
  void FailPrepared(int error);

  const std::unique_ptr<RawDisk> disk_;
  io_uring ring_;
  std::vector<std::optional<Operation>> operations_;
  std::vector<size_t> free_;      // Indices of operations_ without a value.
  std::vector<size_t> prepared_;  // What the kernel does not have yet, in its order.
  std::vector<BlkCompletion> completions_;
  bool flush_failed_ = false;
};

}  // namespace mayfly
