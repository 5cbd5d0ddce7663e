#include "devices/legacy/serial_output.h"

#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

namespace mayfly {

SerialOutput::~SerialOutput() {
  MutexLock lock(mutex_);
  if (watch_ != 0) loop_->Remove(watch_);
  DrainLocked();
}

void SerialOutput::Write(std::span<const uint8_t> bytes) {
  MutexLock lock(mutex_);
  if (fd_ < 0 || failed_) {
    metrics_.dropped.Add(bytes.size());
    return;
  }
  const size_t room = kMaxPending - pending_.size();
  const size_t kept = std::min(bytes.size(), room);
  pending_.insert(pending_.end(), bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(kept));
  metrics_.dropped.Add(bytes.size() - kept);
  if (watch_ != 0) return;
  if (!drain_in_loop_) {
    DrainOrWatchLocked();
  } else if (!std::exchange(posted_, true)) {
    loop_->Post([this] {
      MutexLock posted_lock(mutex_);
      posted_ = false;
      DrainOrWatchLocked();
    });
  }
}

void SerialOutput::Drain() {
  MutexLock lock(mutex_);
  DrainLocked();
}

void SerialOutput::DrainOrWatchLocked() {
  if (watch_ != 0) return;
  DrainLocked();
  if (!pending_.empty()) WatchLocked();
}

void SerialOutput::DrainLocked() {
  while (!pending_.empty() && !failed_ && fd_ >= 0) {
    pollfd ready{fd_, POLLOUT, 0};
    if (::poll(&ready, 1, 0) <= 0) return;
    std::array<uint8_t, kMaxWrite> chunk;
    const size_t count = std::min(pending_.size(), chunk.size());
    std::copy_n(pending_.begin(), count, chunk.begin());
    const ssize_t written = ::write(fd_, chunk.data(), count);
    if (written < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (written < 0) {
      // The reader is gone, or the disk is full: the guest runs on without a console.
      failed_ = true;
      metrics_.dropped.Add(pending_.size());
      pending_.clear();
      return;
    }
    metrics_.written.Add(static_cast<uint64_t>(written));
    pending_.erase(pending_.begin(), pending_.begin() + written);
  }
}

void SerialOutput::WatchLocked() {
  const auto watch = loop_->Watch(fd_, EPOLLOUT, [this](uint32_t) {
    MutexLock lock(mutex_);
    DrainLocked();
    if (pending_.empty() && watch_ != 0) {
      loop_->Remove(watch_);
      watch_ = 0;
    }
  });
  // Not to be watched means a regular file, which poll(2) always calls ready: nothing is pending.
  watch_ = watch.value_or(0);
}

}  // namespace mayfly
