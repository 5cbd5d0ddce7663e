#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/event_fd.h"
#include "base/event_loop.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/interrupt_line.h"
#include "devices/metrics.h"
#include "devices/virtio/mmio_state.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// On which thread a kick becomes VirtioDevice::ProcessQueue().
enum class KickMode {
  kInline,  // On the vCPU's, before its register write returns: for requests that are quick.
  kLoop,    // On the event loop's, see notify_fd(); kicks that come before it gets there are one.
};

struct MmioMetrics {
  Counter kicks;
  Counter interrupts;
  Counter resets;
  Counter broken;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("kicks_total", "Notifications by the driver.", &MmioMetrics::kicks);
    visit("interrupts_total", "Interrupts raised for the driver.", &MmioMetrics::interrupts);
    visit("resets_total", "Resets by the driver.", &MmioMetrics::resets);
    visit("broken_total", "Times that the driver broke the device, so that it needs a reset.",
          &MmioMetrics::broken);
  }
};

// A virtio device's registers (virtio-mmio version 2; virtio 1.2, section 4.2.2), its status
// machine and its queues' addresses. Owns the device. Register accesses come from any vCPU thread.
// The mutex is held around every call of the device's, ProcessQueue() too, so that a reset returns
// only when nothing runs any more; QueueEvents take no lock, so a device may call them with its own
// mutex held. Destroy it on the loop's thread, or when the loop does not run.
class MmioTransport final : public BusDevice, private QueueEvents {
 public:
  // Of the range on the bus: a page for each device.
  static constexpr uint64_t kSize = 0x1000;

  using State = MmioState;

  // All pointers are borrowed and outlive the transport.
  struct Resources {
    std::string name;  // For errors and the log: "disk0".
    std::unique_ptr<VirtioDevice> device;
    const GuestMemory* memory = nullptr;
    InterruptLine* interrupt = nullptr;
    // Also used in kInline mode, for what a device puts off with Virtqueue::ProcessLater().
    EventLoop* loop = nullptr;
    KickMode kick_mode = KickMode::kInline;
    LogSink* log = nullptr;  // May be null.
  };

  // kCorrupt, naming the field, if `state` is none that a device like this one can be in: another
  // device, features that are not offered, an impossible status, queues outside memory. A state
  // with DRIVER_OK activates the device.
  static Result<std::unique_ptr<MmioTransport>> Create(Resources resources,
                                                       const State& state = State{});
  MmioTransport(const MmioTransport&) = delete;
  MmioTransport& operator=(const MmioTransport&) = delete;
  ~MmioTransport() override;

  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

  // The configuration space has changed: a new ConfigGeneration and an interrupt. Any thread.
  void ConfigChanged();

  // A signal on this eventfd is a kick of all queues, in KickMode::kLoop: for an ioeventfd of KVM's
  // on QueueNotify, which spares the vCPU the way to this process and back.
  [[nodiscard]] int notify_fd() const { return notify_event_.fd(); }

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] const MmioMetrics& metrics() const { return metrics_; }

  // With the vCPUs paused: nothing is in flight when it returns, and what the driver has asked for
  // waits for Resume().
  void Pause();
  void Resume();

  // With the vCPUs paused, and the loop idle or stopped.
  [[nodiscard]] State Save() const;

 private:
  MmioTransport(Resources resources, EventFd kick_event, EventFd notify_event);

  void UsedBuffers() override;
  void NeedsReset() override;
  void ProcessLater() override;

  Result<void> RestoreLocked(const State& state) REQUIRES(mutex_);
  Result<void> CheckState(const State& state) const;

  uint32_t ReadRegister(uint64_t offset) const;
  uint32_t ReadRegisterLocked(uint64_t offset) const REQUIRES(mutex_);
  void WriteRegister(uint64_t offset, uint32_t value);
  void WriteRegisterLocked(uint64_t offset, uint32_t value) REQUIRES(mutex_);
  void WriteQueueRegisterLocked(uint64_t offset, uint32_t value) REQUIRES(mutex_);
  void WriteDriverFeaturesLocked(uint32_t value) REQUIRES(mutex_);
  void WriteStatusLocked(uint32_t value) REQUIRES(mutex_);

  void Kick(uint32_t index);
  void ProcessPending();
  // Makes pending kicks of the signals on notify_fd().
  void TakeNotifications();
  void ProcessLocked(uint32_t queues) REQUIRES(mutex_);

  Result<void> ActivateLocked() REQUIRES(mutex_);
  void ResetLocked() REQUIRES(mutex_);
  void RaiseInterrupt(uint32_t cause);

  [[nodiscard]] uint64_t offered_features() const;
  [[nodiscard]] bool FeaturesAcceptable(uint64_t driver_features) const;
  // The driver has set DRIVER_OK, and nothing has gone wrong since.
  [[nodiscard]] bool live() const;

  const std::string name_;
  const GuestMemory* const memory_;
  InterruptLine* const interrupt_;
  EventLoop* const loop_;
  const KickMode kick_mode_;
  GuestLog log_;
  MmioMetrics metrics_;
  const EventFd kick_event_;
  const EventFd notify_event_;
  EventLoop::WatchId kick_watch_ = 0;
  EventLoop::WatchId notify_watch_ = 0;

  // What is read or changed without the mutex. Status bits are set with fetch_or, because
  // NeedsReset() may come at any time; only a reset, when no queue is left, clears them.
  std::atomic<uint32_t> status_{0};
  std::atomic<uint32_t> interrupt_status_{0};
  std::atomic<uint32_t> config_generation_{0};
  std::atomic<uint32_t> pending_kicks_{0};

  mutable Mutex mutex_;
  // All other registers; the fields that are atomics above are filled in by Save().
  State registers_ GUARDED_BY(mutex_);
  bool activated_ GUARDED_BY(mutex_) = false;
  bool paused_ GUARDED_BY(mutex_) = false;
  const std::unique_ptr<VirtioDevice> device_;
};

}  // namespace mayfly
