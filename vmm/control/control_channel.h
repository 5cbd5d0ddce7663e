#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "base/control_protocol.h"
#include "base/mutex.h"
#include "devices/virtio/vsock/vsock_stream.h"

namespace mayfly {

// The host's end of the control channel: a service on a vsock port that exists only inside the VMM,
// and frames for whoever drives the function. Send(), Receive() and Close() may come from any
// thread; the vsock device calls the rest. Must outlive the device. Holds one connection: the
// guest's init makes it before any handler runs, and later ones are refused.
class ControlChannel final : public VsockService {
 public:
  using Clock = std::chrono::steady_clock;

  // Bytes of the guest's that wait for Receive(); beyond it the guest is left to wait by vsock's
  // credit, so that it cannot fill the host's memory with frames that nobody takes.
  static constexpr size_t kMaxReceived = 1 << 20;

  ControlChannel() = default;
  ControlChannel(const ControlChannel&) = delete;
  ControlChannel& operator=(const ControlChannel&) = delete;

  // Queues one frame for the guest. kGuest if the channel is closed.
  Result<void> Send(control::FrameType type, uint64_t invocation, std::span<const uint8_t> payload);

  // The next frame of the guest's. kTimeout at `deadline`; kGuest if the guest closed the channel,
  // broke the protocol, or Close() was called, with its reason.
  Result<control::Frame> Receive(Clock::time_point deadline);

  // Ends all waiting with `reason`. For the end of the machine; frames already here are delivered
  // first.
  void Close(const std::string& reason);

  // Has a Receive() that waits return kCancelled, or the next one.
  void Wake();
  // Nothing is under way in either direction: a machine that is paused now can be saved without the
  // channel, and continued on a new one.
  [[nodiscard]] bool quiet() const;

  Result<std::unique_ptr<VsockStream>> Accept(uint32_t host_port) override;

 private:
  class Stream;

  Result<size_t> ReadForGuest(std::span<const iovec> to);
  Result<size_t> WriteFromGuest(std::span<const iovec> from);
  void CloseLocked(const std::string& reason) REQUIRES(mutex_);
  // GuestMemory hands out pages that may be gone by now.
  std::unexpected<Error> Lose() REQUIRES(mutex_);

  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::function<void()> ready_ GUARDED_BY(mutex_);
  bool connected_ GUARDED_BY(mutex_) = false;
  bool woken_ GUARDED_BY(mutex_) = false;
  std::optional<std::string> closed_ GUARDED_BY(mutex_);

  control::FrameReader reader_ GUARDED_BY(mutex_);
  std::deque<control::Frame> received_ GUARDED_BY(mutex_);
  size_t received_bytes_ GUARDED_BY(mutex_) = 0;

  std::deque<std::vector<uint8_t>> to_send_ GUARDED_BY(mutex_);
  size_t first_sent_ GUARDED_BY(mutex_) = 0;  // Bytes of to_send_.front() already with the guest.
};

}  // namespace mayfly
