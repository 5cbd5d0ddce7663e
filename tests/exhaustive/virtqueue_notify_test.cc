#include <gtest/gtest.h>

#include <array>
#include <cstdio>

#include "devices/virtio/virtqueue.h"
#include "tests/fakes/fake_queue.h"

// Whether the driver is told of what was completed: for every wish of its (used_event, all 2^16 of
// them, or the flag without EVENT_IDX), every number of chains completed together in queues of up
// to four, and used indices that wrap and that do not.
//
// It must be told if and only if the used element with the index that it asked for is among those
// completed since the last time (virtio 1.2, section 2.7.7.2), or without EVENT_IDX if it did not
// set the flag; and the used ring has exactly what was completed.
namespace mayfly {
namespace {

constexpr GuestAddress kRings{0x100000};
constexpr std::array<uint16_t, 3> kSizes{1, 2, 4};
constexpr std::array<uint16_t, 4> kStarts{0, 0x7fff, 0xfffd, 0xffff};

class VirtqueueNotifyTest : public ::testing::Test {
 protected:
  // Completes `count` chains on top of `start`; returns whether the driver was told.
  bool IsTold(uint16_t size, uint16_t start, uint16_t count, bool event_index) {
    ++states_;
    FakeQueueEvents events;
    VirtqueueState state = FakeQueue::StateAt(kRings, size);
    state.next_avail = state.next_used = state.signalled_used = start;
    Virtqueue queue = *Virtqueue::Create(state, size, event_index, memory_.get(), &events);
    for (uint16_t i = 0; i < count; ++i) queue.Complete(*queue.Pop(), 1);
    queue.Notify();
    return events.used_buffers == 1;
  }

  // A queue with as many chains of one writable descriptor as it has descriptors.
  FakeQueue FullQueue(uint16_t size, uint16_t start) {
    FakeQueue queue(memory_.get(), kRings, size);
    for (uint16_t i = 0; i < size; ++i) {
      queue.WriteDescriptor(i, {0, 1, kFakeWrite, 0});
      queue.WriteAvailEntry(i, i);
    }
    queue.SetAvailIndex(static_cast<uint16_t>(start + size));
    return queue;
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(2 << 20);
  uint64_t states_ = 0;
};

TEST_F(VirtqueueNotifyTest, EveryUsedEventIsAnsweredIfAndOnlyIfItIsPassed) {
  for (const uint16_t size : kSizes) {
    for (const uint16_t start : kStarts) {
      FakeQueue rings = FullQueue(size, start);
      for (uint16_t count = 0; count <= size; ++count) {
        for (uint32_t event = 0; event <= UINT16_MAX; ++event) {
          rings.SetUsedEvent(static_cast<uint16_t>(event));
          bool passed = false;
          for (uint16_t i = 0; i < count; ++i) {
            if (static_cast<uint16_t>(start + i) == event) passed = true;
          }
          ASSERT_EQ(IsTold(size, start, count, true), passed);
          ASSERT_EQ(rings.used_index(),
                    count == 0 ? rings.used_index() : static_cast<uint16_t>(start + count));
        }
      }
    }
  }
  std::printf("used_event: %llu states\n", static_cast<unsigned long long>(states_));
}

TEST_F(VirtqueueNotifyTest, FlagsOtherThanNoInterruptAreIgnored) {
  FakeQueue rings = FullQueue(4, 0);
  for (uint32_t flags = 0; flags <= UINT16_MAX; ++flags) {
    rings.SetAvailFlags(static_cast<uint16_t>(flags));
    ASSERT_EQ(IsTold(4, 0, 1, false), (flags & 1) == 0);
  }
  std::printf("flags: %llu states\n", static_cast<unsigned long long>(states_));
}

}  // namespace
}  // namespace mayfly
