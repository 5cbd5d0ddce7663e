#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "devices/bus.h"
#include "tests/fakes/fake_queue.h"

namespace mayfly {

// Plays a Linux-like driver against a virtio-mmio transport: register writes in the order of
// section 3.1.1, and one FakeQueue for each queue of the device, 1 MiB each from kQueueBase on.
//
//   FakeDriver driver(&memory, transport.get());
//   driver.Start();
//   const uint16_t head = driver.Chain().Readable(header).Writable(512).Submit();
//   driver.Kick();
//   driver.PopUsed();  driver.Written(head);
class FakeDriver {
 public:
  static constexpr uint64_t kQueueBase = 0x100000;

  // Both are borrowed. `memory` needs kQueueBase and 1 MiB for each queue.
  FakeDriver(const GuestMemory* memory, BusDevice* transport)
      : memory_(memory), transport_(transport) {}

  // Goes on with a transport that was restored: the driver does not notice.
  void Reattach(BusDevice* transport) { transport_ = transport; }

  // The whole initialisation: accepts what is offered of `wanted_features` and VERSION_1, and gives
  // each queue `queue_size` descriptors, or its maximum if that is less.
  void Start(uint64_t wanted_features = 0, uint16_t queue_size = 256);

  // Its steps, for tests that stop half-way.
  void Acknowledge();
  void Negotiate(uint64_t wanted_features);
  void SetUpQueues(uint16_t queue_size);
  void SetUpQueue(uint32_t index, const VirtqueueState& state);
  void DriverOk();
  void Reset();

  FakeQueue& queue(size_t index = 0) { return queues_.at(index); }
  [[nodiscard]] size_t queue_count() const { return queues_.size(); }
  FakeQueue::ChainBuilder Chain(size_t index = 0) { return queue(index).Chain(); }
  std::optional<FakeUsed> PopUsed(size_t index = 0) { return queue(index).PopUsed(); }
  std::vector<uint8_t> Written(uint16_t head, size_t index = 0) {
    return queue(index).Written(head);
  }
  void Kick(uint32_t index = 0);
  // Reads InterruptStatus and acknowledges what it says, as an interrupt handler does.
  uint32_t TakeInterrupt();

  [[nodiscard]] BusDevice& transport() { return *transport_; }
  [[nodiscard]] uint32_t ReadRegister(uint64_t offset) const;
  void WriteRegister(uint64_t offset, uint32_t value);
  [[nodiscard]] uint32_t status() const;
  [[nodiscard]] uint64_t offered_features();
  // From the device's configuration space.
  [[nodiscard]] std::vector<uint8_t> ReadConfig(uint64_t offset, size_t size) const;
  template <class T>
  [[nodiscard]] T ReadConfig(uint64_t offset) const {
    return LoadLe<T>(ReadConfig(offset, sizeof(T)));
  }
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes);

 private:
  const GuestMemory* memory_;
  BusDevice* transport_;
  std::deque<FakeQueue> queues_;
};

}  // namespace mayfly
