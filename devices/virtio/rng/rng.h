#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/rng/rng_backend.h"
#include "devices/virtio/rng/rng_metrics.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// A virtio entropy device (virtio 1.2, section 5.4): one queue, whose buffers it fills with random
// bytes, no faster than it is allowed to. Owned by its transport; it has a mutex of its own because
// of the timer that goes on where the rate stopped it. It has no state besides its queue.
class RngDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 4;
  static constexpr uint16_t kQueueSize = 64;
  // The most that one request gets; the rest of its buffer stays as it is (5.4.6.2 allows that). A
  // chain can be 4 GiB long, for which the generator takes some ten seconds of a host CPU.
  static constexpr uint32_t kMaxRequestBytes = 64 * 1024;
  // After this much a turn ends, so that a queue of such requests does not hold up others.
  static constexpr uint64_t kMaxTurnBytes = 4ULL * kMaxRequestBytes;
  // Far more than a guest's generator needs, and about 1 % of a CPU to make: a guest that reads
  // without end does not get the host's generator for itself.
  static constexpr RateLimits kDefaultLimits{
      .bytes = {.per_second = 4 << 20, .burst = 1 << 20, .one_time_burst = 0}, .operations = {}};

  struct Resources {
    std::string name;                       // For the log: "rng".
    std::unique_ptr<EntropySource> source;  // HostEntropy.
    LogSink* log = nullptr;                 // Borrowed, as the loop; may be null.
    EventLoop* loop = nullptr;              // For waiting; null: the rate has no limit.
    RateLimits limits = kDefaultLimits;
  };

  static std::unique_ptr<RngDevice> Create(Resources resources);
  RngDevice(const RngDevice&) = delete;
  RngDevice& operator=(const RngDevice&) = delete;
  ~RngDevice() override;

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override;
  void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) override;
  void ProcessQueue(uint16_t index) override;
  void Reset() override;
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override;

  [[nodiscard]] const RngMetrics& metrics() const { return metrics_; }

 private:
  static constexpr std::array<uint16_t, 1> kQueueSizes{kQueueSize};

  explicit RngDevice(Resources resources)
      : source_(std::move(resources.source)),
        loop_(resources.loop),
        log_(resources.log, resources.name),
        limiter_(loop_ != nullptr ? resources.limits : RateLimits{}) {}

  // Gives the chain so many bytes.
  void ServeLocked(DescriptorChain chain, uint32_t wanted) REQUIRES(mutex_);
  void WaitLocked(RateLimiter::Clock::duration delay) REQUIRES(mutex_);
  void WaitIsOver();

  const std::unique_ptr<EntropySource> source_;
  EventLoop* const loop_;
  GuestLog log_;
  RngMetrics metrics_;

  mutable Mutex mutex_;
  std::optional<Virtqueue> queue_ GUARDED_BY(mutex_);
  RateLimiter limiter_ GUARDED_BY(mutex_);
  EventLoop::TimerId timer_ GUARDED_BY(mutex_) = 0;  // 0: nothing waits for the rate.
};

}  // namespace mayfly
