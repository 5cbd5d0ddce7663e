#include <sys/mman.h>

#include "devices/virtio/virtqueue.h"
#include "tests/unit/devices/virtio/virtqueue_fixture.h"

// Pages of a queue's that cannot be had any more, as when a pager has died: the queue is broken,
// and nothing but that.
namespace mayfly {
namespace {

class VirtqueueLostMemoryTest : public VirtqueueFixture {
 protected:
  static constexpr uint64_t kAvail = 0x10000;
  static constexpr uint64_t kUsed = 0x20000;

  void Lose(uint64_t address) const {
    ::mprotect(memory_->regions()[0].host + address, GuestMemory::kPageSize, PROT_NONE);
  }
};

TEST_F(VirtqueueLostMemoryTest, DescriptorsAreNotPoppedWithoutTheirTable) {
  driver_.Chain().Readable({1}).Submit();
  Lose(kBase.value);
  EXPECT_TRUE(PopBreaks());
}

TEST_F(VirtqueueLostMemoryTest, NothingIsPoppedWithoutTheAvailRing) {
  driver_.Chain().Readable({1}).Submit();
  Lose(kBase.value + kAvail);
  EXPECT_TRUE(PopBreaks());
}

TEST_F(VirtqueueLostMemoryTest, AChainIsNotCompletedWithoutTheUsedRing) {
  driver_.Chain().Writable(8).Submit();
  Virtqueue queue = MakeQueue();
  auto chain = queue.Pop();
  ASSERT_TRUE(chain);
  Lose(kBase.value + kUsed);
  queue.Complete(*std::move(chain), 8);
  queue.Notify();
  EXPECT_TRUE(queue.broken());
  EXPECT_EQ(events_.needs_reset, 1);
}

TEST_F(VirtqueueLostMemoryTest, NobodyIsNotifiedWithoutTheAvailRing) {
  driver_.Chain().Writable(8).Submit();
  Virtqueue queue = MakeQueue(true);
  auto chain = queue.Pop();
  ASSERT_TRUE(chain);
  queue.Complete(*std::move(chain), 8);
  Lose(kBase.value + kAvail);
  queue.Notify();
  EXPECT_TRUE(queue.broken());
}

TEST_F(VirtqueueLostMemoryTest, BytesAreCopiedUpToTheLostPage) {
  driver_.Chain().ReadableAt(kBuffer, 2 * GuestMemory::kPageSize).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();
  ASSERT_TRUE(chain);
  Lose(kBuffer + GuestMemory::kPageSize);
  Bytes bytes(2 * GuestMemory::kPageSize);
  EXPECT_EQ(chain->CopyFrom(*memory_, 0, std::span(bytes).first(16)), 16);
  EXPECT_EQ(chain->CopyFrom(*memory_, 0, bytes), 0);
}

}  // namespace
}  // namespace mayfly
