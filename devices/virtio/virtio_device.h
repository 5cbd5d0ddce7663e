#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "devices/virtio/virtqueue.h"

namespace mayfly {

// Feature bits that belong to the transport and the queue (virtio 1.2, section 6).
inline constexpr uint64_t kFeatureEventIndex = 1ULL << 29;
inline constexpr uint64_t kFeatureVersion1 = 1ULL << 32;

// The device side of a virtio device: features, configuration space and queues, never registers.
// Owned by its transport, which serialises Activate(), Reset() and configuration accesses; a device
// with events of its own (sockets, timers) has its own mutex. ProcessQueue() comes from the thread
// that the transport was told to use for kicks.
class VirtioDevice {
 public:
  virtual ~VirtioDevice() = default;

  [[nodiscard]] virtual uint32_t type() const = 0;  // Section 5, "Device ID".
  // What is offered besides VERSION_1 and EVENT_IDX, which the transport adds.
  [[nodiscard]] virtual uint64_t features() const = 0;
  // The largest size of each queue, a power of two.
  [[nodiscard]] virtual std::span<const uint16_t> queue_sizes() const = 0;

  // Fills `out` with configuration bytes from `offset`; bytes beyond the structure's end stay 0.
  virtual void ReadConfig(uint64_t offset, std::span<uint8_t> out) = 0;
  virtual void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) = 0;

  // DRIVER_OK: takes the queues, one for each of queue_sizes(), as the driver set them up.
  virtual void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) = 0;
  // The driver kicked queue `index`. Never called before Activate() or after Reset().
  virtual void ProcessQueue(uint16_t index) = 0;
  // Lets go of the queues and of everything in flight before it returns (2.4.1). Back to the state
  // before Activate().
  virtual void Reset() = 0;
  // Waits until nothing is in flight and all of it is in the used rings, for a machine that is
  // paused. From then on the device leaves the guest's memory and its queues alone, whatever its
  // backend, its timers and its host do, until the next ProcessQueue(), which does not come before
  // the machine runs again; Virtqueue::ProcessLater() asks for one.
  virtual void Drain() {}

  // How far each queue has come; only between Activate() and Reset(), with the machine paused. The
  // transport saves it and hands the same queues to Activate() after a restore.
  [[nodiscard]] virtual std::vector<VirtqueueState> SaveQueues() const = 0;
};

}  // namespace mayfly
