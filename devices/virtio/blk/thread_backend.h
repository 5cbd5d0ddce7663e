#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/event_fd.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "devices/virtio/blk/blk_backend.h"

namespace mayfly {

// Carries out requests one after the other on a thread of its own, with a disk's blocking calls:
// for hosts without io_uring, and for disks that are more than a file.
class ThreadBackend final : public BlkBackend {
 public:
  // `on_start` is called first in the thread; may be empty.
  static Result<std::unique_ptr<ThreadBackend>> Create(std::unique_ptr<Disk> disk,
                                                       std::function<void()> on_start = {});
  ThreadBackend(const ThreadBackend&) = delete;
  ThreadBackend& operator=(const ThreadBackend&) = delete;
  ~ThreadBackend() override;

  [[nodiscard]] const DiskInfo& info() const override { return disk_->info(); }
  bool ReadNow(std::span<const iovec> to, uint64_t offset) override {
    return disk_->ReadNow(to, offset);
  }
  void Submit(BlkRequest request) override;
  void Commit() override { changed_.notify_all(); }
  [[nodiscard]] int completion_fd() const override { return completed_.fd(); }
  void Take(std::vector<BlkCompletion>* to) override;
  void Drain() override;

 private:
  ThreadBackend(std::unique_ptr<Disk> disk, EventFd completed)
      : disk_(std::move(disk)), completed_(std::move(completed)) {}
  void Work();
  Result<void> Execute(const BlkRequest& request);

  const std::unique_ptr<Disk> disk_;
  const EventFd completed_;
  Mutex mutex_;
  ConditionVariable changed_;
  std::deque<BlkRequest> submitted_ GUARDED_BY(mutex_);
  std::vector<BlkCompletion> completions_ GUARDED_BY(mutex_);
  bool busy_ GUARDED_BY(mutex_) = false;
  bool stop_ GUARDED_BY(mutex_) = false;
  Thread thread_;  // Last: it uses all of the above.
};

}  // namespace mayfly
