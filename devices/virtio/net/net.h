#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/net/net_backend.h"
#include "devices/virtio/net/net_metrics.h"
#include "devices/virtio/net/net_state.h"
#include "devices/virtio/net/receive_buffers.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// A virtio network device (virtio 1.2, section 5.1): one queue for each direction, checksum and
// segmentation offloads, mergeable buffers, a link that can go down. Owned by its transport. Frames
// come from its backend on the loop's thread, so it has a mutex of its own.
//
// It reads a frame only into buffers of the guest's. Without any, frames wait in the backend, and
// the guest's next kick goes on with them.
class NetDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 1;
  static constexpr uint16_t kQueueSize = 256;
  // Frames of one turn and direction, of up to 64 KiB each, before other devices get theirs.
  static constexpr unsigned kMostTurnFrames = 64;

  struct Resources {
    std::string name{};  // For errors and the log: "net0".
    std::unique_ptr<NetBackend> backend{};
    EventLoop* loop = nullptr;
    RateLimits receive_limits{};
    RateLimits transmit_limits{};
    // Frames that the guest sends with another source address than its own are dropped.
    bool filter_source = false;
    LogSink* log = nullptr;  // May be null. Pointers are borrowed.
  };

  // kInvalidArgument if `state` has a MAC address that is none of a station, or an impossible MTU.
  static Result<std::unique_ptr<NetDevice>> Create(Resources resources, const NetState& state);
  NetDevice(const NetDevice&) = delete;
  NetDevice& operator=(const NetDevice&) = delete;
  // On the loop's thread, or when the loop does not run.
  ~NetDevice() override;

  // `changed` tells the transport of a new configuration. Before the machine runs.
  void OnConfigChange(std::function<void()> changed) { config_changed_ = std::move(changed); }
  // Plugs the cable in, or pulls it: then frames of both directions are lost. Any thread.
  void SetLink(bool up);

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override;
  void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) override;
  void ProcessQueue(uint16_t index) override;
  void Reset() override;
  void Drain() override;
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override;

  [[nodiscard]] NetState Save() const;
  [[nodiscard]] const NetMetrics& metrics() const { return metrics_; }

 private:
  enum Queue : uint16_t { kReceive = 0, kTransmit = 1 };
  static constexpr std::array<uint16_t, 2> kQueueSizes{kQueueSize, kQueueSize};

  NetDevice(Resources resources, const NetState& state);

  void BackendReady();
  // What an event leads to that is no kick: of the backend, or of a limiter's timer.
  void ProcessLocked(Queue queue) REQUIRES(mutex_);
  void ReceiveLocked() REQUIRES(mutex_);
  // False if nothing can be done before the next event.
  bool ReceiveFrameLocked() REQUIRES(mutex_);
  // Reads one into the buffers, or a useless one into nothing. False if there is none.
  bool ReadFrameLocked() REQUIRES(mutex_);
  void TransmitLocked() REQUIRES(mutex_);
  void SendLocked(const DescriptorChain& chain) REQUIRES(mutex_);
  void WaitLocked(Queue queue, EventLoop::Clock::duration wait) REQUIRES(mutex_);
  [[nodiscard]] bool has(uint64_t feature) const REQUIRES(mutex_) {
    return (driver_features_ & feature) == feature;
  }

  const MacAddress mac_;
  const uint16_t mtu_;
  const bool filter_source_;
  EventLoop* const loop_;
  NetMetrics metrics_;
  GuestLog log_;
  std::function<void()> config_changed_;

  mutable Mutex mutex_;
  bool link_up_ GUARDED_BY(mutex_);
  uint64_t driver_features_ GUARDED_BY(mutex_) = 0;
  std::optional<ReceiveBuffers> receive_ GUARDED_BY(mutex_);  // Neither without a driver.
  std::optional<Virtqueue> transmit_ GUARDED_BY(mutex_);
  RateLimiter receive_limiter_ GUARDED_BY(mutex_);
  RateLimiter transmit_limiter_ GUARDED_BY(mutex_);
  // Since Drain(): the guest's memory stays as it is until the transport asks for something.
  bool paused_ GUARDED_BY(mutex_) = false;
  // The timers that end a limiter's wait; 0: none runs.
  std::array<EventLoop::TimerId, 2> timers_ GUARDED_BY(mutex_){};
  // The backend may have a frame: it has said so since it last had none.
  bool readable_ GUARDED_BY(mutex_) = true;
  std::vector<iovec> iovecs_ GUARDED_BY(mutex_);  // Of one SendLocked(), kept for its memory.
  // Last, so that it calls nobody who is gone.
  const std::unique_ptr<NetBackend> backend_;
};

}  // namespace mayfly
