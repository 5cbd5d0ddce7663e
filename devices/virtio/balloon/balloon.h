#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "devices/virtio/balloon/balloon_metrics.h"
#include "devices/virtio/balloon/balloon_state.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// A memory balloon (virtio 1.2, section 5.5): pages that the driver puts in, and free pages that it
// reports, go back to the host. With statistics, if an interval is set. Owned by its transport; it
// has a mutex of its own, because the target comes from any thread and statistics from a timer.
class BalloonDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 5;
  // Linux reports free pages in chains of 32.
  static constexpr uint16_t kQueueSize = 128;
  // What one turn gives back to the host at most, and in how many pieces; the rest of a chain waits
  // for the next turn. The guest chooses how long a chain is and how scattered its pages are, and
  // each piece is a system call that stops the vCPUs for a moment.
  static constexpr uint64_t kMaxTurnBytes = 256ULL << 20;
  static constexpr uint32_t kMaxTurnPieces = 4096;
  // Entries of one statistics buffer that are looked at.
  static constexpr size_t kMaxStats = 32;

  struct Resources {
    std::string name;                             // For errors and the log: "balloon".
    const GuestMemory* memory = nullptr;          // Bounds the target.
    EventLoop* loop = nullptr;                    // For the statistics' timer.
    std::chrono::milliseconds stats_interval{0};  // 0: none are asked for.
    LogSink* log = nullptr;                       // May be null. All pointers are borrowed.
  };

  // kCorrupt if the state's target is larger than the memory.
  static Result<std::unique_ptr<BalloonDevice>> Create(Resources resources,
                                                       const BalloonState& state);
  BalloonDevice(const BalloonDevice&) = delete;
  BalloonDevice& operator=(const BalloonDevice&) = delete;
  ~BalloonDevice() override;

  // `changed` tells the driver to read the configuration again (MmioTransport::ConfigChanged()).
  // Once, before the machine runs.
  void OnConfigChange(std::function<void()> changed) { config_changed_ = std::move(changed); }

  // How much the driver is to put in: whole pages of 4 KiB, rounded down. It does so when it can,
  // or takes back what is too much. kInvalidArgument beyond the memory's size. Any thread.
  Result<void> SetTarget(uint64_t bytes);

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

  [[nodiscard]] BalloonState Save() const;
  [[nodiscard]] const BalloonMetrics& metrics() const { return metrics_; }

 private:
  enum Queue : uint16_t { kInflate = 0, kDeflate = 1, kStats = 2 };
  static constexpr std::array<uint16_t, 4> kQueueSizes{kQueueSize, kQueueSize, kQueueSize,
                                                       kQueueSize};
  // What is left of a turn.
  struct Budget {
    uint64_t bytes = kMaxTurnBytes;
    uint32_t pieces = kMaxTurnPieces;
    [[nodiscard]] bool spent() const { return bytes == 0 || pieces == 0; }
  };

  BalloonDevice(const Resources& resources, const BalloonState& state);

  // Does what the budget allows from byte `offset` of the chain on, and moves `offset`; true if
  // that was all of the chain.
  using Handler = bool (BalloonDevice::*)(const DescriptorChain& chain, uint32_t& offset,
                                          Budget& budget);
  // Handles the chains of a queue until it is empty or the turn is over.
  void DrainLocked(uint16_t index, Handler handler) REQUIRES(mutex_);
  bool InflateLocked(const DescriptorChain& chain, uint32_t& offset, Budget& budget)
      REQUIRES(mutex_);
  bool DeflateLocked(const DescriptorChain& chain, uint32_t& offset, Budget& budget)
      REQUIRES(mutex_);
  bool ReportLocked(const DescriptorChain& chain, uint32_t& offset, Budget& budget)
      REQUIRES(mutex_);
  // Gives the range to the host, and counts it.
  void DiscardLocked(GuestAddress address, uint64_t length, Counter& counter, Budget& budget)
      REQUIRES(mutex_);
  void ReadStatsLocked() REQUIRES(mutex_);
  void RecordStat(uint16_t tag, uint64_t value);
  // The interval is over: the driver gets its statistics buffer back, and fills it again.
  void AskForStats();
  void ScheduleStatsLocked() REQUIRES(mutex_);

  const GuestMemory* const memory_;
  EventLoop* const loop_;
  const std::chrono::milliseconds stats_interval_;
  const bool deflate_on_oom_;
  std::function<void()> config_changed_;
  GuestLog log_;
  BalloonMetrics metrics_;

  mutable Mutex mutex_;
  uint32_t target_pages_ GUARDED_BY(mutex_);
  uint32_t actual_pages_ GUARDED_BY(mutex_);
  std::vector<Virtqueue> queues_ GUARDED_BY(mutex_);  // Empty while inactive.
  bool has_stats_ GUARDED_BY(mutex_) = false;
  // Where reporting is; 0 if the driver does not want it.
  uint16_t reporting_queue_ GUARDED_BY(mutex_) = 0;
  // How much of the first chain of each queue was handled in turns before. A chain that is not done
  // is put back, so that a snapshot finds it in its queue; done twice is harmless.
  std::array<uint32_t, kQueueSizes.size()> done_ GUARDED_BY(mutex_){};
  EventLoop::TimerId stats_timer_ GUARDED_BY(mutex_) = 0;
  // Since Drain(): the guest's memory stays as it is until the transport asks for something.
  bool paused_ GUARDED_BY(mutex_) = false;
  bool stats_read_ GUARDED_BY(mutex_) = false;  // The buffer that the driver gave last.
};

}  // namespace mayfly
