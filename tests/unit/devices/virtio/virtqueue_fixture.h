#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "devices/virtio/virtqueue.h"
#include "tests/fakes/fake_queue.h"

namespace mayfly {

// A driver's queue of eight descriptors, and the device's end of it as a test makes it.
class VirtqueueFixture : public ::testing::Test {
 protected:
  static constexpr uint64_t kMemorySize = 4ULL << 20;
  static constexpr GuestAddress kBase{0x100000};
  static constexpr uint64_t kBuffer = 0x10000;  // RAM that no ring is in.
  static constexpr uint16_t kSize = 8;
  using Bytes = std::vector<uint8_t>;

  Virtqueue MakeQueue(const VirtqueueState& state, bool event_index = false) {
    return *Virtqueue::Create(state, 256, event_index, memory_.get(), &events_);
  }
  Virtqueue MakeQueue(bool event_index = false) { return MakeQueue(driver_.state(), event_index); }
  bool CanCreate(const VirtqueueState& state) {
    return Virtqueue::Create(state, 256, false, memory_.get(), &events_).has_value();
  }
  // Whether a chain of this one descriptor breaks a queue.
  bool Breaks(const FakeDescriptor& descriptor) {
    driver_.WriteDescriptor(0, descriptor);
    driver_.Publish(0);
    return PopBreaks();
  }
  bool PopBreaks() {
    Virtqueue queue = MakeQueue();
    const bool nothing = !queue.Pop().has_value();
    return nothing && queue.broken() && events_.needs_reset == 1;
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kMemorySize);
  FakeQueue driver_{memory_.get(), kBase, kSize};
  FakeQueueEvents events_;
};

}  // namespace mayfly
