#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/result.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/blk/blk_backend.h"
#include "devices/virtio/blk/blk_metrics.h"
#include "devices/virtio/blk/blk_options.h"
#include "devices/virtio/blk/blk_request.h"
#include "devices/virtio/blk/blk_state.h"
#include "devices/virtio/blk/in_flight.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// A virtio block device (virtio 1.2, section 5.2). What needs no disk is done at once, on the
// thread of the kick: malformed requests, and reads of what is in the host's memory already. The
// rest goes to the backend from the event loop's thread, where it completes too. Owned by its
// transport; its own mutex is for the completions. Destroy it on the loop's thread, or when the
// loop does not run.
class BlkDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 2;
  static constexpr uint16_t kQueueSize = 256;
  static constexpr uint16_t kMostQueues = 16;
  static constexpr uint64_t kSectorSize = BlkLimits::kSectorSize;
  // The header and the status byte take a descriptor each.
  static constexpr uint32_t kSegmentsMax = kQueueSize - 2;
  // With so many reads and writes in flight the driver need not kick: one of them completes soon,
  // and then the device looks at its queues anyway.
  static constexpr size_t kQuietDepth = 4;

  struct Resources {
    std::string name;  // For errors and the log: "disk0".
    std::unique_ptr<BlkBackend> backend;
    EventLoop* loop = nullptr;  // Borrowed; outlives the device.
    LogSink* log = nullptr;     // Borrowed; may be null.
    BlkOptions options{};
  };

  // kInvalidArgument if an option is impossible, or, with both values, if the backend is another
  // disk than `state` tells of.
  static Result<std::unique_ptr<BlkDevice>> Create(Resources resources,
                                                   const BlkState& state = BlkState{});
  BlkDevice(const BlkDevice&) = delete;
  BlkDevice& operator=(const BlkDevice&) = delete;
  ~BlkDevice() override;

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override;
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return queue_sizes_; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override;
  void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) override;
  void ProcessQueue(uint16_t index) override;
  void Reset() override;
  void Drain() override;
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override;

  [[nodiscard]] BlkState Save() const;
  [[nodiscard]] const BlkMetrics& metrics() const { return metrics_; }

 private:
  struct Queue {
    Virtqueue virtqueue;
    // The loop's thread has it on its list, for a request that needs the backend.
    bool handed_over = false;
    // The bytes that the rate limiter was asked for already, for that request.
    std::optional<uint64_t> paid;
  };
  // One call of ProcessQueue().
  struct Turn {
    bool on_loop;
    bool read_now;  // Cleared by the first read that had to wait: those behind it will, too.
    bool answered = false;  // A read, out of the cache.
    bool submitted = false;
    uint64_t bytes = 0;
  };

  BlkDevice(Resources resources, uint64_t capacity_sectors);

  void ServeLocked(uint16_t index, Turn& turn) REQUIRES(mutex_);
  // False if the turn ends: the chain is back in its queue.
  bool ServeChainLocked(uint16_t index, DescriptorChain chain, Turn& turn) REQUIRES(mutex_);
  bool StartLocked(uint16_t index, DescriptorChain chain, BlkRequest request, Turn& turn)
      REQUIRES(mutex_);
  // False, with a timer set, if the request has to wait.
  bool AdmitLocked(Queue& queue, const BlkRequest& request) REQUIRES(mutex_);
  void AnswerIdLocked(Queue& queue, DescriptorChain chain) REQUIRES(mutex_);
  void AnswerLocked(Queue& queue, DescriptorChain chain, uint8_t status, uint64_t data_written)
      REQUIRES(mutex_);

  void OnCompletions();
  void OnThrottleTimer();
  void ReapLocked() REQUIRES(mutex_);
  void CompleteLocked(BlkCompletion completion) REQUIRES(mutex_);
  void CountLocked(const InFlightRequest& request) REQUIRES(mutex_);
  void NotifyLocked() REQUIRES(mutex_);

  const std::unique_ptr<BlkBackend> backend_;
  EventLoop* const loop_;
  GuestLog log_;
  const BlkOptions options_;
  const BlkLimits limits_;
  const std::vector<uint16_t> queue_sizes_;
  BlkMetrics metrics_;
  EventLoop::WatchId watch_ = 0;

  mutable Mutex mutex_;
  std::vector<Queue> queues_ GUARDED_BY(mutex_);
  InFlightTable in_flight_ GUARDED_BY(mutex_);
  RateLimiter limiter_ GUARDED_BY(mutex_);
  EventLoop::TimerId throttle_timer_ GUARDED_BY(mutex_) = 0;  // 0: not throttled.
  bool write_back_ GUARDED_BY(mutex_) = false;
  // A queue was left alone that may have requests: the next completion looks again.
  bool look_again_ GUARDED_BY(mutex_) = false;
  std::vector<BlkCompletion> taken_ GUARDED_BY(mutex_);  // Kept for its memory.
};

}  // namespace mayfly
