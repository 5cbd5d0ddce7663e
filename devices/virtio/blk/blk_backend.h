#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"

namespace mayfly {

// What a block device reads and writes: a file, or a fake. Owned by its BlkDevice, which calls it
// from one thread at a time and only with ranges inside size(). The iovecs point into guest memory:
// they are for system calls that copy, and are not to be read.
class BlkBackend {
 public:
  virtual ~BlkBackend() = default;

  [[nodiscard]] virtual uint64_t size() const = 0;  // In bytes; does not change.
  [[nodiscard]] virtual bool read_only() const = 0;
  // Answers VIRTIO_BLK_T_GET_ID; what is beyond 20 bytes is cut.
  [[nodiscard]] virtual std::string_view id() const = 0;

  // All of the iovecs' bytes, or an error; then any part of them may have been moved.
  virtual Result<void> Read(std::span<const iovec> to, uint64_t offset) = 0;
  virtual Result<void> Write(std::span<const iovec> from, uint64_t offset) = 0;
  // All completed writes are on stable storage.
  virtual Result<void> Flush() = 0;
};

}  // namespace mayfly
