#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/virtio/blk/disk.h"

namespace mayfly {

enum class BlkOperation : uint8_t { kRead, kWrite, kFlush, kDiscard, kWriteZeroes };

// One request to a backend.
struct BlkRequest {
  BlkOperation operation = BlkOperation::kRead;
  bool may_unmap = false;  // Of kWriteZeroes.
  uint64_t token = 0;      // Comes back with the completion; not two in flight with the same one.
  uint64_t offset = 0;     // With `length`, a range inside the disk; not of kFlush.
  uint64_t length = 0;
  // Of kRead and kWrite: `length` bytes of guest memory, which outlives the backend. For system
  // calls that copy, and not to be read.
  std::vector<iovec> iovecs;
};

struct BlkCompletion {
  uint64_t token;
  Result<void> result;  // The error's errno is EOPNOTSUPP where the disk cannot do it at all.
};

// Carries out a block device's requests while the device does something else: an I/O engine on top
// of a disk. Owned by its BlkDevice, which calls it from one thread at a time. Requests complete in
// any order. Destroying it waits for what is in flight.
class BlkBackend {
 public:
  virtual ~BlkBackend() = default;

  [[nodiscard]] virtual const DiskInfo& info() const = 0;

  // Reads what is in memory already, as Disk::ReadNow().
  virtual bool ReadNow(std::span<const iovec> to, uint64_t offset) = 0;

  // Takes a request; it may start with the next Commit() only. io_uring ties a request to the
  // thread that commits it: interrupts that thread for it, and cancels it if the thread ends.
  virtual void Submit(BlkRequest request) = 0;
  virtual void Commit() = 0;

  // Readable while there are completions that Take() did not give out; for an event loop.
  [[nodiscard]] virtual int completion_fd() const = 0;
  // Adds all completions there are to `to`.
  virtual void Take(std::vector<BlkCompletion>* to) = 0;
  // Waits until nothing is in flight: Take() then has the last completions.
  virtual void Drain() = 0;
};

}  // namespace mayfly
