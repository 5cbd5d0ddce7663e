#include "devices/virtio/blk/thread_backend.h"

#include <iterator>

namespace mayfly {

Result<std::unique_ptr<ThreadBackend>> ThreadBackend::Create(std::unique_ptr<Disk> disk,
                                                             std::function<void()> on_start) {
  EventFd completed = TRY(EventFd::Create());
  std::unique_ptr<ThreadBackend> backend(new ThreadBackend(std::move(disk), std::move(completed)));
  ThreadBackend* const self = backend.get();
  backend->thread_ = Thread("blk", [self, on_start = std::move(on_start)] {
    if (on_start) on_start();
    self->Work();
  });
  return backend;
}

ThreadBackend::~ThreadBackend() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.Join();
}

void ThreadBackend::Submit(BlkRequest request) {
  MutexLock lock(mutex_);
  submitted_.push_back(std::move(request));
}

void ThreadBackend::Take(std::vector<BlkCompletion>* to) {
  MutexLock lock(mutex_);
  completed_.Clear();
  std::ranges::move(completions_, std::back_inserter(*to));
  completions_.clear();
}

void ThreadBackend::Drain() {
  MutexLock lock(mutex_);
  changed_.notify_all();
  while (busy_ || !submitted_.empty()) changed_.wait(mutex_);
}

void ThreadBackend::Work() {
  mutex_.lock();
  while (true) {
    while (submitted_.empty() && !stop_) changed_.wait(mutex_);
    if (submitted_.empty()) break;
    const BlkRequest request = std::move(submitted_.front());
    submitted_.pop_front();
    busy_ = true;
    mutex_.unlock();
    Result<void> result = Execute(request);
    mutex_.lock();
    busy_ = false;
    if (completions_.empty()) completed_.Signal();
    completions_.push_back({request.token, std::move(result)});
    if (submitted_.empty()) changed_.notify_all();  // For Drain().
  }
  mutex_.unlock();
}

Result<void> ThreadBackend::Execute(const BlkRequest& request) {
  switch (request.operation) {
    case BlkOperation::kRead:
      return disk_->Read(request.iovecs, request.offset);
    case BlkOperation::kWrite:
      return disk_->Write(request.iovecs, request.offset);
    case BlkOperation::kFlush:
      return disk_->Flush();
    case BlkOperation::kDiscard:
      return disk_->Discard(request.offset, request.length);
    case BlkOperation::kWriteZeroes:
      return disk_->WriteZeroes(request.offset, request.length, request.may_unmap);
  }
  return Fail(ErrorCode::kUnsupported, "no such operation");
}

}  // namespace mayfly
