#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <deque>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "base/event_fd.h"
#include "devices/virtio/blk/blk_backend.h"

namespace mayfly {

// A disk in memory. Requests are carried out at Commit(), unless they are held; tests set what
// fails, and count what was asked of it.
class FakeBlkBackend final : public BlkBackend {
 public:
  explicit FakeBlkBackend(size_t size, bool read_only = false)
      : disk(size), info_{.size = size, .read_only = read_only} {
    // Byte n is n modulo 256; in pieces, because fuzz targets make many disks.
    std::iota(disk.begin(), disk.begin() + static_cast<ptrdiff_t>(std::min(size, kPeriod)),
              uint8_t{0});
    for (size_t at = kPeriod; at < size; at += kPeriod) {
      std::memcpy(&disk[at], disk.data(), std::min(kPeriod, size - at));
    }
  }

  [[nodiscard]] const DiskInfo& info() const override { return info_; }
  bool ReadNow(std::span<const iovec> to, uint64_t offset) override {
    ++reads_now;
    if (!cached) return false;
    Copy(to, offset);
    return true;
  }
  void Submit(BlkRequest request) override { submitted_.push_back(std::move(request)); }
  void Commit() override {
    ++commits;
    if (!hold) Release();
  }
  [[nodiscard]] int completion_fd() const override { return completed_.fd(); }
  void Take(std::vector<BlkCompletion>* to) override {
    completed_.Clear();
    for (BlkCompletion& completion : completions_) to->push_back(std::move(completion));
    completions_.clear();
  }
  void Drain() override {
    ++drains;
    Release();
  }

  // Carries out the `count` oldest requests, or all.
  void Release(size_t count = SIZE_MAX) {
    for (; count > 0 && !submitted_.empty(); --count) {
      const BlkRequest request = std::move(submitted_.front());
      submitted_.pop_front();
      Complete(request.token, Execute(request));
    }
  }
  // A completion that nobody asked for, or one more than was asked for.
  void Complete(uint64_t token, Result<void> result) {
    completions_.push_back({token, std::move(result)});
    completed_.Signal();
  }
  [[nodiscard]] const std::deque<BlkRequest>& held() const { return submitted_; }

  std::vector<uint8_t> disk;
  bool hold = false;
  bool cached = false;
  bool fail_read = false;
  bool fail_write = false;
  bool fail_flush = false;
  bool cannot_discard = false;
  int reads_now = 0;
  int reads = 0;
  int writes = 0;
  int flushes = 0;
  int commits = 0;
  int drains = 0;
  BlkRequest last_range;  // Of the last discard or write zeroes.

 private:
  static constexpr size_t kPeriod = 256;

  Result<void> Execute(const BlkRequest& request) {
    switch (request.operation) {
      case BlkOperation::kRead:
        ++reads;
        if (fail_read) return Fail(ErrorCode::kHost, "read: injected");
        Copy(request.iovecs, request.offset);
        return {};
      case BlkOperation::kWrite: {
        ++writes;
        if (fail_write) return Fail(ErrorCode::kHost, "write: injected");
        uint64_t offset = request.offset;
        for (const iovec& part : request.iovecs) {
          std::memcpy(&disk.at(offset), part.iov_base, part.iov_len);
          offset += part.iov_len;
        }
        return {};
      }
      case BlkOperation::kFlush:
        ++flushes;
        if (fail_flush) return Fail(ErrorCode::kHost, "flush: injected");
        return {};
      case BlkOperation::kDiscard:
      case BlkOperation::kWriteZeroes:
        last_range = request;
        if (cannot_discard) return FailErrno("injected", EOPNOTSUPP);
        std::memset(&disk.at(request.offset), 0, request.length);
        return {};
    }
    return {};
  }
  void Copy(std::span<const iovec> to, uint64_t offset) const {
    for (const iovec& part : to) {
      std::memcpy(part.iov_base, &disk.at(offset), part.iov_len);
      offset += part.iov_len;
    }
  }

  const DiskInfo info_;
  const EventFd completed_ = *EventFd::Create();
  std::deque<BlkRequest> submitted_;
  std::vector<BlkCompletion> completions_;
};

}  // namespace mayfly
