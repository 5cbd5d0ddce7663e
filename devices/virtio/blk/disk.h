#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/result.h"

namespace mayfly {

// What does not change about a disk as long as it is open.
struct DiskInfo {
  uint64_t size = 0;  // In bytes.
  bool read_only = false;
  // Writes of whole blocks of this size, aligned to it, cost no reading; a power of two.
  uint32_t physical_block_size = 512;
  // What is best moved at once, in bytes; 0 if nothing is known.
  uint32_t optimal_io_size = 0;

  bool operator==(const DiskInfo&) const = default;
};

// The contents of a disk, through calls that block. Owned by the backend that makes the calls: one
// at a time, but for ReadNow(), which may come from another thread at the same time. Ranges lie
// inside info().size. The iovecs point into guest memory: they are for system calls that copy, and
// are not to be read.
class Disk {
 public:
  virtual ~Disk() = default;

  [[nodiscard]] virtual const DiskInfo& info() const = 0;

  // All of the iovecs' bytes, or an error; then any part of them may have been moved.
  virtual Result<void> Read(std::span<const iovec> to, uint64_t offset) = 0;
  virtual Result<void> Write(std::span<const iovec> from, uint64_t offset) = 0;
  // All completed writes are on stable storage. After one failure every further one fails: the
  // kernel reports a lost write only once, and what was lost stays lost.
  virtual Result<void> Flush() = 0;
  // The range's contents are of no use any more. An error with EOPNOTSUPP if that cannot be told.
  virtual Result<void> Discard(uint64_t offset, uint64_t length) = 0;
  // The range reads as zeros; its space is given back only if `may_unmap`.
  virtual Result<void> WriteZeroes(uint64_t offset, uint64_t length, bool may_unmap) = 0;

  // True if all of it was in memory and was read, without waiting for a device. If not, any part of
  // it may have been read.
  virtual bool ReadNow(std::span<const iovec> to, uint64_t offset) = 0;
};

}  // namespace mayfly
