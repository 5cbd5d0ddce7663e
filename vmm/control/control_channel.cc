#include "vmm/control/control_channel.h"

#include <algorithm>

#include "vmm/memory/guarded_access.h"

namespace mayfly {

// What the vsock device holds of the channel.
class ControlChannel::Stream final : public VsockStream {
 public:
  explicit Stream(ControlChannel* channel) : channel_(channel) {}

  Result<size_t> Read(std::span<const iovec> to) override { return channel_->ReadForGuest(to); }
  Result<size_t> Write(std::span<const iovec> from) override {
    return channel_->WriteFromGuest(from);
  }
  void ShutdownWrite() override {
    MutexLock lock(channel_->mutex_);
    channel_->CloseLocked("the guest closed the control channel");
  }
  // The channel announces every change, wanted or not.
  void SetInterest(bool /*read*/, bool /*write*/) override {}
  void SetReady(std::function<void()> ready) override {
    MutexLock lock(channel_->mutex_);
    channel_->ready_ = std::move(ready);
  }

  ~Stream() override {
    MutexLock lock(channel_->mutex_);
    channel_->ready_ = nullptr;
    channel_->CloseLocked("the guest closed the control channel");
  }

 private:
  ControlChannel* channel_;
};

Result<std::unique_ptr<VsockStream>> ControlChannel::Accept(uint32_t /*host_port*/) {
  MutexLock lock(mutex_);
  if (connected_) return Fail(ErrorCode::kGuest, "control channel: already connected");
  connected_ = true;
  return std::make_unique<Stream>(this);
}

Result<void> ControlChannel::Send(control::FrameType type, uint64_t invocation,
                                  std::span<const uint8_t> payload) {
  std::function<void()> ready;
  {
    MutexLock lock(mutex_);
    if (closed_) return Fail(ErrorCode::kGuest, *closed_);
    to_send_.push_back(control::Encode(type, invocation, payload));
    ready = ready_;
  }
  if (ready) ready();
  return {};
}

Result<control::Frame> ControlChannel::Receive(Clock::time_point deadline) {
  std::function<void()> ready;
  std::optional<control::Frame> frame;
  {
    MutexLock lock(mutex_);
    while (received_.empty() && !closed_) {
      if (std::exchange(woken_, false)) return Fail(ErrorCode::kCancelled, "woken");
      if (changed_.wait_until(mutex_, deadline) == std::cv_status::timeout && received_.empty() &&
          !closed_ && !woken_) {
        return Fail(ErrorCode::kTimeout, "no answer from the guest in time");
      }
    }
    if (received_.empty()) return Fail(ErrorCode::kGuest, *closed_);
    const bool was_full = received_bytes_ >= kMaxReceived;
    frame = std::move(received_.front());
    received_.pop_front();
    received_bytes_ -= sizeof(control::FrameHeader) + frame->payload.size();
    if (was_full && received_bytes_ < kMaxReceived) ready = ready_;
  }
  if (ready) ready();
  return std::move(*frame);
}

void ControlChannel::Wake() {
  MutexLock lock(mutex_);
  woken_ = true;
  changed_.notify_all();
}

bool ControlChannel::quiet() const {
  MutexLock lock(mutex_);
  return received_.empty() && to_send_.empty() && !reader_.partial();
}

void ControlChannel::Close(const std::string& reason) {
  MutexLock lock(mutex_);
  CloseLocked(reason);
}

void ControlChannel::CloseLocked(const std::string& reason) {
  if (!closed_) closed_ = reason;
  changed_.notify_all();
}

std::unexpected<Error> ControlChannel::Lose() {
  CloseLocked("a page of the guest's memory is gone");
  return Fail(ErrorCode::kGuest, *closed_);
}

Result<size_t> ControlChannel::ReadForGuest(std::span<const iovec> to) {
  MutexLock lock(mutex_);
  size_t total = 0;
  for (const iovec& piece : to) {
    size_t filled = 0;
    while (filled < piece.iov_len && !to_send_.empty()) {
      const std::vector<uint8_t>& front = to_send_.front();
      const size_t count = std::min(piece.iov_len - filled, front.size() - first_sent_);
      if (!GuardedCopy(static_cast<uint8_t*>(piece.iov_base) + filled, front.data() + first_sent_,
                       count)) {
        return Lose();
      }
      filled += count;
      first_sent_ += count;
      if (first_sent_ == front.size()) {
        to_send_.pop_front();
        first_sent_ = 0;
      }
    }
    total += filled;
  }
  if (total > 0) return total;
  return closed_ ? size_t{0} : VsockStream::kWouldBlock;
}

Result<size_t> ControlChannel::WriteFromGuest(std::span<const iovec> from) {
  MutexLock lock(mutex_);
  if (closed_) return Fail(ErrorCode::kGuest, *closed_);
  if (received_bytes_ >= kMaxReceived) return VsockStream::kWouldBlock;
  size_t total = 0;
  for (const iovec& piece : from) {
    // A packet's, which is 64 KiB at most.
    std::vector<uint8_t> bytes(piece.iov_len);
    if (!GuardedCopy(bytes.data(), piece.iov_base, piece.iov_len)) return Lose();
    reader_.Append(bytes);
    total += piece.iov_len;
  }
  while (true) {
    Result<std::optional<control::Frame>> next = reader_.Next();
    if (!next) {
      CloseLocked(next.error().message());
      return std::unexpected(std::move(next).error());
    }
    if (!*next) break;
    received_bytes_ += sizeof(control::FrameHeader) + (*next)->payload.size();
    received_.push_back(std::move(**next));
  }
  changed_.notify_all();
  return total;
}

}  // namespace mayfly
