#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "devices/bus.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fuzz/byte_reader.h"
#include "tests/fuzz/fuzz_memory.h"

namespace mayfly {

// A driver that does what a fuzzer's input says: requests of any shape, rings full of nonsense,
// registers in any order. It keeps a copy of what it wrote, and holds the device to these rules,
// whatever the driver does:
//
//  - only writable buffers are written (FuzzMemory);
//  - a used length is at most the writable length of the chain with that head;
//  - a turn takes at most as many chains as the queue has descriptors, so that many for each turn
//  are
//    the most that can have been used;
//  - the status register has a value that section 2.1 knows.
class HostileDriver {
 public:
  static constexpr uint16_t kMaxQueueSize = 16;

  // `queues` is how many the device has. All pointers are borrowed.
  HostileDriver(FuzzMemory* memory, BusDevice* transport, size_t queues)
      : memory_(memory), driver_(memory->memory(), transport), queue_count_(queues) {}

  // Initialises the device; features and queue size come from the input.
  void Start(ByteReader& in);
  // One action that any device can meet.
  void Act(ByteReader& in);
  // A request: `header`, split over descriptors and followed by buffers as the input says, all of
  // it in the window. Published, not kicked.
  void Submit(ByteReader& in, size_t queue, std::span<const uint8_t> header);
  // `length` bytes for the device to write, in `count` buffers.
  void SubmitWritable(ByteReader& in, size_t queue, uint32_t length);
  void Kick(uint32_t queue);
  // Around everything else that makes the device work: an event of the host's, the loop.
  void BeforeDevice();
  void AfterDevice();
  // At the end.
  void Check();

  FakeDriver& driver() { return driver_; }

 private:
  // What the driver has written into the rings of one queue.
  struct Model {
    std::array<FakeDescriptor, kMaxQueueSize> table{};
    std::array<uint16_t, kMaxQueueSize> avail{};
    // The most that a chain with this head had to be written into.
    std::array<uint64_t, kMaxQueueSize> writable{};
    uint16_t next_descriptor = 0;
    uint16_t used = 0;  // The used index when the driver last looked.
    uint64_t may_be_used = 0;
    bool changed = false;  // Since `writable` was brought up to date.
  };

  FakeDescriptor TakeDescriptor(ByteReader& in);
  void WriteDescriptor(size_t queue, uint16_t index, const FakeDescriptor& descriptor);
  void WriteAvail(size_t queue, uint16_t slot, uint16_t head);
  // A chain in the order of `descriptors`, whose flags and next it fills in.
  void Publish(size_t queue, std::span<FakeDescriptor> descriptors);
  void NonsenseInRings(ByteReader& in, size_t queue);
  void AccessRegister(ByteReader& in);
  void Reap(size_t queue);
  [[nodiscard]] uint64_t WritableLength(const Model& model, uint16_t head) const;

  FuzzMemory* const memory_;
  FakeDriver driver_;
  const size_t queue_count_;
  uint16_t size_ = 0;
  std::deque<FakeQueue> queues_;
  std::vector<Model> models_;
};

}  // namespace mayfly
