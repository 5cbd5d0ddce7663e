#include "devices/virtio/blk/uring_backend.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/unique_fd.h"

namespace mayfly {
namespace {

// More than a device has in flight (BlkDevice::kMostInFlight), and twice that: neither ring is ever
// full.
constexpr unsigned kSubmissionEntries = 512;
constexpr unsigned kCompletionEntries = 1024;
// What cannot be done without blocking is done by threads of the kernel's: flushes, and writes to a
// block device through the page cache. A guest that floods the disk with them would have it start
// hundreds. With 4 of them, a Linux guest got 0.6 of the writes a second that it gets with 32.
constexpr unsigned kMostWorkers = 32;
constexpr int kMostAttempts = 100;
constexpr uint64_t kNothing = UINT64_MAX;  // Of an entry whose operation has failed already.

int CreateRing(io_uring* ring) {
  io_uring_params parameters{};
  parameters.flags = IORING_SETUP_CQSIZE | IORING_SETUP_COOP_TASKRUN;
  parameters.cq_entries = kCompletionEntries;
  const int result = ::io_uring_queue_init_params(kSubmissionEntries, ring, &parameters);
  if (result != -EINVAL) return result;
  // Before Linux 5.19.
  parameters = {};
  parameters.flags = IORING_SETUP_CQSIZE;
  parameters.cq_entries = kCompletionEntries;
  return ::io_uring_queue_init_params(kSubmissionEntries, ring, &parameters);
}

std::string_view NameOf(BlkOperation operation) {
  switch (operation) {
    case BlkOperation::kRead:
      return "read ";
    case BlkOperation::kWrite:
      return "write ";
    case BlkOperation::kFlush:
      return "sync ";
    case BlkOperation::kDiscard:
      return "discard ";
    case BlkOperation::kWriteZeroes:
      return "write zeroes ";
  }
  return "";
}

}  // namespace

Result<std::unique_ptr<UringBackend>> UringBackend::Create(std::unique_ptr<RawDisk>* disk) {
  io_uring ring{};
  if (const int result = CreateRing(&ring); result < 0) {
    return FailErrno("io_uring_setup", -result);
  }
  // Not before Linux 5.15, which does without the limit.
  std::array<unsigned, 2> workers{kMostWorkers, kMostWorkers};
  (void)::io_uring_register_iowq_max_workers(&ring, workers.data());
  return std::unique_ptr<UringBackend>(new UringBackend(std::move(*disk), ring));
}

UringBackend::~UringBackend() {
  Drain();
  // The library would close it behind ThreadSanitizer's back, which would take the next file of
  // this number, in whichever thread, for this one still.
  const UniqueFd fd(std::exchange(ring_.ring_fd, -1));
  ::io_uring_queue_exit(&ring_);
}

void UringBackend::Submit(BlkRequest request) {
  if (free_.empty()) {
    free_.push_back(operations_.size());
    operations_.emplace_back();
  }
  const size_t index = free_.back();
  free_.pop_back();
  Operation& operation = operations_[index].emplace();
  operation.request = std::move(request);
  operation.cursor = IovecCursor(std::move(operation.request.iovecs));
  operation.outcome = OutcomeOf(operation);
  Prepare(index);
}

std::optional<Result<void>> UringBackend::OutcomeOf(const Operation& operation) const {
  const BlkOperation kind = operation.request.operation;
  const bool transfers = kind == BlkOperation::kRead || kind == BlkOperation::kWrite;
  if (kind == BlkOperation::kFlush && flush_failed_) {
    return Fail(ErrorCode::kHost, "sync " + disk_->name() + ": failed before");
  }
  if (disk_->info().read_only && kind != BlkOperation::kRead && kind != BlkOperation::kFlush) {
    return Fail(ErrorCode::kPermission,
                std::string(NameOf(kind)) + disk_->name() + ": it is read-only");
  }
  if (transfers && operation.cursor.done()) return Result<void>();
  return std::nullopt;
}

void UringBackend::Prepare(size_t index) {
  io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    Finish(index, FailErrno("io_uring_enter", EBUSY));
    return;
  }
  Operation& operation = *operations_[index];
  FillEntry(entry, operation);
  entry->user_data = index;
  operation.prepared = entry;
  prepared_.push_back(index);
}

void UringBackend::FillEntry(io_uring_sqe* entry, const Operation& operation) const {
  // Not a registered file: the kernel lets go of those, and of the lock, only some time after the
  // ring has ended.
  const int fd = disk_->fd();
  const BlkRequest& request = operation.request;
  if (operation.outcome) {
    ::io_uring_prep_nop(entry);
    return;
  }
  switch (request.operation) {
    case BlkOperation::kRead:
      ::io_uring_prep_readv(entry, fd, operation.cursor.data(), operation.cursor.count(),
                            request.offset);
      return;
    case BlkOperation::kWrite:
      ::io_uring_prep_writev(entry, fd, operation.cursor.data(), operation.cursor.count(),
                             request.offset);
      return;
    case BlkOperation::kFlush:
      ::io_uring_prep_fsync(entry, fd, IORING_FSYNC_DATASYNC);
      return;
    case BlkOperation::kDiscard:
    case BlkOperation::kWriteZeroes:
      ::io_uring_prep_fallocate(
          entry, fd,
          request.operation == BlkOperation::kDiscard ? DiscardMode()
                                                      : WriteZeroesMode(request.may_unmap),
          static_cast<off_t>(request.offset), static_cast<off_t>(request.length));
      return;
  }
}

void UringBackend::Commit() {
  int attempts = 0;
  while (!prepared_.empty()) {
    const int result = ::io_uring_submit(&ring_);
    if (result > 0) {
      MarkSubmitted(static_cast<size_t>(result));
    } else if (result != -EINTR) {
      // No memory for it, or too many completions wait: making room for those is all we can do.
      Reap();
      if (++attempts == kMostAttempts) {
        FailPrepared(result == 0 ? EBUSY : -result);
        return;
      }
    }
  }
}

// The kernel takes entries in the order in which they were prepared, and not always all of them.
void UringBackend::MarkSubmitted(size_t count) {
  CHECK(count <= prepared_.size());
  for (size_t i = 0; i < count; ++i) {
    if (prepared_[i] != kNothing) operations_[prepared_[i]]->prepared = nullptr;
  }
  prepared_.erase(prepared_.begin(), prepared_.begin() + static_cast<ptrdiff_t>(count));
}

void UringBackend::FailPrepared(int error) {
  for (size_t& index : prepared_) {
    if (index == kNothing) continue;
    // The entry stays in the ring, and must not be carried out any more.
    io_uring_sqe* const entry = operations_[index]->prepared;
    ::io_uring_prep_nop(entry);
    entry->user_data = kNothing;
    Finish(index, FailErrno("io_uring_enter", error));
    index = kNothing;
  }
}

void UringBackend::Reap() {
  std::array<io_uring_cqe*, 64> entries{};
  while (true) {
    const unsigned count = ::io_uring_peek_batch_cqe(&ring_, entries.data(), entries.size());
    if (count == 0) return;
    for (unsigned i = 0; i < count; ++i) {
      const uint64_t index = entries[i]->user_data;
      const int32_t result = entries[i]->res;
      if (index != kNothing) Advance(index, result);
    }
    ::io_uring_cq_advance(&ring_, count);
  }
}

void UringBackend::Advance(size_t index, int32_t result) {
  CHECK(index < operations_.size() && operations_[index]);
  Operation& operation = *operations_[index];
  BlkRequest& request = operation.request;
  if (operation.outcome) {
    Finish(index, *std::move(operation.outcome));
    return;
  }
  if ((result == -EINTR || result == -EAGAIN) && ++operation.attempts < kMostAttempts) {
    Prepare(index);
    return;
  }
  if (result == -EOPNOTSUPP && request.operation == BlkOperation::kWriteZeroes) {
    request.operation = BlkOperation::kWrite;
    operation.cursor = IovecCursor(ZeroIovecs(request.length));
    Prepare(index);
    return;
  }
  if (result < 0) {
    Finish(index, FailureOf(operation, -result));
    return;
  }
  if (request.operation != BlkOperation::kRead && request.operation != BlkOperation::kWrite) {
    Finish(index, {});
    return;
  }
  if (result == 0) {
    Finish(index,
           Fail(ErrorCode::kCorrupt, std::string(NameOf(request.operation)) + disk_->name() +
                                         ": ends at byte " + std::to_string(request.offset)));
    return;
  }
  request.offset += static_cast<uint64_t>(result);
  operation.attempts = 0;
  operation.cursor.Advance(static_cast<size_t>(result));
  if (operation.cursor.done()) {
    Finish(index, {});
  } else {
    Prepare(index);
  }
}

Result<void> UringBackend::FailureOf(const Operation& operation, int error) {
  if (operation.request.operation == BlkOperation::kFlush) flush_failed_ = true;
  return FailErrno(std::string(NameOf(operation.request.operation)) + disk_->name(), error);
}

void UringBackend::Finish(size_t index, Result<void> result) {
  completions_.push_back({operations_[index]->request.token, std::move(result)});
  operations_[index].reset();
  free_.push_back(index);
}

void UringBackend::Take(std::vector<BlkCompletion>* to) {
  Reap();
  Commit();  // What has to be continued.
  std::ranges::move(completions_, std::back_inserter(*to));
  completions_.clear();
}

void UringBackend::Drain() {
  while (free_.size() < operations_.size()) {
    Commit();
    if (free_.size() == operations_.size()) return;
    io_uring_cqe* entry = nullptr;
    (void)::io_uring_wait_cqe(&ring_, &entry);
    Reap();
  }
}

}  // namespace mayfly
