#pragma once

#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "devices/virtio/blk/blk_backend.h"

namespace mayfly {

// A disk in memory. Tests set what fails, and count what was asked of it.
class FakeBlkBackend final : public BlkBackend {
 public:
  explicit FakeBlkBackend(size_t size, bool read_only = false) : disk(size), read_only_(read_only) {
    std::iota(disk.begin(), disk.end(), uint8_t{0});
  }

  [[nodiscard]] uint64_t size() const override { return disk.size(); }
  [[nodiscard]] bool read_only() const override { return read_only_; }
  [[nodiscard]] std::string_view id() const override { return serial; }
  Result<void> Read(std::span<const iovec> to, uint64_t offset) override {
    ++reads;
    if (fail_read) return Fail(ErrorCode::kHost, "read: injected");
    for (const iovec& part : to) {
      std::memcpy(part.iov_base, &disk.at(offset), part.iov_len);
      offset += part.iov_len;
    }
    return {};
  }
  Result<void> Write(std::span<const iovec> from, uint64_t offset) override {
    ++writes;
    if (fail_write) return Fail(ErrorCode::kHost, "write: injected");
    for (const iovec& part : from) {
      std::memcpy(&disk.at(offset), part.iov_base, part.iov_len);
      offset += part.iov_len;
    }
    return {};
  }
  Result<void> Flush() override {
    ++flushes;
    if (fail_flush) return Fail(ErrorCode::kHost, "flush: injected");
    return {};
  }

  std::vector<uint8_t> disk;
  std::string serial = "fake-disk";
  bool fail_read = false;
  bool fail_write = false;
  bool fail_flush = false;
  int reads = 0;
  int writes = 0;
  int flushes = 0;

 private:
  bool read_only_;
};

}  // namespace mayfly
