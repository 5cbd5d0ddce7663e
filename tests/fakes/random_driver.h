#pragma once

#include <cstdint>
#include <initializer_list>
#include <random>

#include "devices/bus.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// A driver that breaks every rule at random, at the virtio devices that stand side by side on a
// bus: accesses of any size, half a set-up, descriptors and indices of any value, rings rewritten
// while they are in use; with so much sense in it that devices come up and take requests. The same
// seed does the same. It writes to memory in kMemoryBytes from kMemoryStart only.
class RandomDriver {
 public:
  static constexpr uint64_t kMemoryStart = 0x100000;
  static constexpr uint64_t kMemoryBytes = 0x400000;

  struct Devices {
    uint64_t first;   // Where the first one's registers are.
    uint64_t stride;  // From one to the next.
    uint32_t count;   // At most 16.
  };

  // `memory` and `bus` are borrowed.
  RandomDriver(const GuestMemory* memory, const Bus* bus, const Devices& devices, uint32_t seed)
      : memory_(memory), bus_(bus), devices_(devices), random_(seed) {}

  // One operation: an access, a change of the rings or a request; or, now and then, a start.
  void Step();

 private:
  static constexpr uint32_t kQueues = 4;  // More than any device has.
  static constexpr uint16_t kQueueSize = 16;

  void Start();
  void Access();
  void WriteAnyRegister();
  void WriteAnyDescriptor();
  void MoveIndex();
  void WriteHeader();
  void Submit();
  void Kick();

  uint32_t Random(uint32_t below) { return static_cast<uint32_t>(random_() % below); }
  uint64_t Pick(std::initializer_list<uint64_t> values);
  void PickQueue();

  // Of the device and queue that were picked last.
  [[nodiscard]] uint64_t registers() const { return devices_.first + device_ * devices_.stride; }
  [[nodiscard]] GuestAddress ring(uint64_t offset) const;
  void Write(uint64_t offset, uint32_t value);
  void PutDescriptor(uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
                     uint16_t next);
  void Publish(uint16_t head, uint16_t by);

  const GuestMemory* memory_;
  const Bus* bus_;
  const Devices devices_;
  std::minstd_rand random_;
  uint32_t device_ = 0;
  uint32_t queue_ = 0;
};

}  // namespace mayfly
