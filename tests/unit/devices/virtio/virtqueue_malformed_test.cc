#include "devices/virtio/virtqueue.h"
#include "tests/unit/devices/virtio/virtqueue_fixture.h"

// What a hostile driver does to a queue (the numbers are those of the threat model's cases). What
// is wrong breaks the queue, whole and at once.
namespace mayfly {
namespace {

using VirtqueueMalformedTest = VirtqueueFixture;

// Case 1.
TEST_F(VirtqueueMalformedTest, CyclicChainEndsAfterQueueSizeDescriptors) {
  driver_.WriteDescriptor(0, {kBuffer, 1, kFakeNext, 1});
  driver_.WriteDescriptor(1, {kBuffer, 1, kFakeNext, 0});
  driver_.Publish(0);
  EXPECT_TRUE(PopBreaks());
}

TEST_F(VirtqueueMalformedTest, DescriptorThatPointsAtItselfBreaks) {
  EXPECT_TRUE(Breaks({kBuffer, 1, kFakeNext, 0}));
}

TEST_F(VirtqueueMalformedTest, ChainOfQueueSizeDescriptorsIsWhole) {
  driver_.Chain()
      .Readable({1})
      .Readable({2})
      .Readable({3})
      .Readable({4})
      .Readable({5})
      .Readable({6})
      .Readable({7})
      .Readable({8})
      .Submit();
  Virtqueue queue = MakeQueue();

  const auto chain = queue.Pop();

  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->readable_size(), kSize);
}

// Case 2.
TEST_F(VirtqueueMalformedTest, NextBeyondTheTableBreaks) {
  EXPECT_TRUE(Breaks({kBuffer, 1, kFakeNext, kSize}));
}

// Case 3.
TEST_F(VirtqueueMalformedTest, HeadBeyondTheTableBreaks) {
  driver_.Publish(kSize);
  EXPECT_TRUE(PopBreaks());
}

// Case 4.
TEST_F(VirtqueueMalformedTest, AddressBeyondMemoryBreaks) {
  EXPECT_TRUE(Breaks({kMemorySize, 1, 0, 0}));
}

TEST_F(VirtqueueMalformedTest, AddressOfADevicesRegistersBreaks) {
  EXPECT_TRUE(Breaks({0xd000'0050, 4, kFakeWrite, 0}));
}

TEST_F(VirtqueueMalformedTest, AddressInTheHoleBetweenRegionsBreaks) {
  memory_ = *GuestMemory::Create(GuestMemory::kHoleStart + GuestMemory::kPageSize);
  driver_ = FakeQueue(memory_.get(), kBase, kSize);
  EXPECT_TRUE(Breaks({GuestMemory::kHoleStart, 1, 0, 0}));
}

// Case 5.
TEST_F(VirtqueueMalformedTest, AddressPlusLengthThatWrapsBreaks) {
  EXPECT_TRUE(Breaks({0xffff'ffff'ffff'f000, 0x2000, kFakeWrite, 0}));
}

// Case 6.
TEST_F(VirtqueueMalformedTest, BufferAcrossTheEndOfMemoryBreaks) {
  EXPECT_TRUE(Breaks({kMemorySize - 1, 2, kFakeWrite, 0}));
}

TEST_F(VirtqueueMalformedTest, BufferUpToTheEndOfMemoryIsWhole) {
  driver_.Chain().WritableAt(kMemorySize - 2, 2).Submit();
  Virtqueue queue = MakeQueue();
  EXPECT_TRUE(queue.Pop());
}

// Case 7.
TEST_F(VirtqueueMalformedTest, ChainOf4GiBBreaks) {
  memory_ = *GuestMemory::Create(2ULL << 30);
  driver_ = FakeQueue(memory_.get(), kBase, kSize);
  driver_.Chain().ReadableAt(0, 0x8000'0000).WritableAt(0, 0x8000'0000).Submit();
  EXPECT_TRUE(PopBreaks());
}

TEST_F(VirtqueueMalformedTest, ChainOf4GiBLessOneByteIsWhole) {
  memory_ = *GuestMemory::Create(2ULL << 30);
  driver_ = FakeQueue(memory_.get(), kBase, kSize);
  driver_.Chain().ReadableAt(0, 0x8000'0000).WritableAt(0, 0x7fff'ffff).Submit();
  Virtqueue queue = MakeQueue();
  EXPECT_TRUE(queue.Pop());
}

// Case 8.
TEST_F(VirtqueueMalformedTest, IndirectDescriptorBreaks) {
  EXPECT_TRUE(Breaks({kBuffer, 16, kFakeIndirect, 0}));
}

TEST_F(VirtqueueMalformedTest, IndirectDescriptorWithNextBreaks) {
  EXPECT_TRUE(Breaks({kBuffer, 16, kFakeIndirect | kFakeNext, 1}));
}

// Case 9.
TEST_F(VirtqueueMalformedTest, WritableBeforeReadableBreaks) {
  driver_.Chain().Writable(1).Readable({1}).Submit();
  EXPECT_TRUE(PopBreaks());
}

// Case 10.
TEST_F(VirtqueueMalformedTest, ZeroLengthBuffersHoldNothing) {
  driver_.Chain().Readable({}).Readable({5}).Readable({}).Writable(0).Writable(1).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();
  Bytes out(2);

  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->CopyFrom(*memory_, 0, out), 1);
  EXPECT_EQ(out[0], 5);
  EXPECT_EQ(chain->WritableIovecs(*memory_, 0, 10).size(), 1);
}

TEST_F(VirtqueueMalformedTest, Chain256BuffersLongWithoutBytesIsWhole) {
  driver_ = FakeQueue(memory_.get(), kBase, 256);
  FakeQueue::ChainBuilder builder = driver_.Chain();
  for (int i = 0; i < 256; ++i) builder.ReadableAt(kBuffer, 0);
  builder.Submit();
  Virtqueue queue = MakeQueue();

  const auto chain = queue.Pop();

  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->readable().size(), 256);
  EXPECT_EQ(chain->readable_size(), 0);
}

TEST_F(VirtqueueMalformedTest, ZeroLengthWritableBeforeReadableBreaks) {
  driver_.Chain().Writable(0).Readable({1}).Submit();
  EXPECT_TRUE(PopBreaks());
}

// Case 11, as far as it is the queue's; the transport refuses more.
TEST_F(VirtqueueMalformedTest, CreateRefusesSizesThatAreNoPowerOfTwoUpToTheMaximum) {
  VirtqueueState state = driver_.state();
  state.size = 3;
  EXPECT_FALSE(CanCreate(state));
  state.size = 512;
  EXPECT_FALSE(CanCreate(state));
  state.size = 0xffff;
  EXPECT_FALSE(CanCreate(state));
  state.size = 256;
  EXPECT_TRUE(CanCreate(state));
  state.size = 1;
  EXPECT_TRUE(CanCreate(state));
}

// Case 12.
TEST_F(VirtqueueMalformedTest, CreateRefusesAnUnalignedDescriptorTable) {
  VirtqueueState state = driver_.state();
  state.descriptor_table += 8;
  EXPECT_FALSE(CanCreate(state));
}

TEST_F(VirtqueueMalformedTest, CreateRefusesAnUnalignedAvailRing) {
  VirtqueueState state = driver_.state();
  state.avail_ring += 1;
  EXPECT_FALSE(CanCreate(state));
}

TEST_F(VirtqueueMalformedTest, CreateRefusesAnUnalignedUsedRing) {
  VirtqueueState state = driver_.state();
  state.used_ring += 2;
  EXPECT_FALSE(CanCreate(state));
}

TEST_F(VirtqueueMalformedTest, CreateRefusesRingsThatReachBeyondMemory) {
  VirtqueueState state = driver_.state();
  state.descriptor_table = kMemorySize - 16ULL * kSize + 16;
  EXPECT_FALSE(CanCreate(state));
  state = driver_.state();
  state.avail_ring = kMemorySize - (6 + 2ULL * kSize) + 2;
  EXPECT_FALSE(CanCreate(state));
  state = driver_.state();
  state.used_ring = kMemorySize - (4 + 8ULL * kSize);  // Without room for avail_event.
  EXPECT_FALSE(CanCreate(state));
  state.used_ring = UINT64_MAX - 3;
  EXPECT_FALSE(CanCreate(state));
}

TEST_F(VirtqueueMalformedTest, CreateTakesRingsAtTheLastByteOfMemory) {
  VirtqueueState state = driver_.state();
  state.avail_ring = kMemorySize - (6 + 2ULL * kSize);
  EXPECT_TRUE(CanCreate(state));
}

// Case 12: the guest's own loss, and nobody else's.
TEST_F(VirtqueueMalformedTest, OverlappingRingsAreTolerated) {
  VirtqueueState state = driver_.state();
  state.used_ring = state.descriptor_table;
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue(state);
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
}

// Case 15.
TEST_F(VirtqueueMalformedTest, AvailIndexThatJumpsBreaks) {
  driver_.SetAvailIndex(kSize + 1);
  EXPECT_TRUE(PopBreaks());
}

TEST_F(VirtqueueMalformedTest, AvailIndexThatGoesBackBreaks) {
  driver_.Chain().Readable({1}).Submit();
  driver_.Chain().Readable({1}).Submit();
  Virtqueue queue = MakeQueue();
  queue.Complete(*queue.Pop(), 0);
  queue.Complete(*queue.Pop(), 0);
  driver_.SetAvailIndex(1);

  EXPECT_FALSE(queue.Pop());

  EXPECT_TRUE(queue.broken());
}

// Case 16: what Pop() gave out does not change any more.
TEST_F(VirtqueueMalformedTest, DescriptorRewrittenAfterPopChangesNothing) {
  const uint16_t head = driver_.Chain().Readable({1, 2, 3}).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();
  Bytes out(3);

  driver_.WriteDescriptor(head, {UINT64_MAX - 1, UINT32_MAX, kFakeWrite, 0});

  EXPECT_EQ(chain->readable_size(), 3);
  EXPECT_EQ(chain->CopyFrom(*memory_, 0, out), 3);
  EXPECT_EQ(out, (Bytes{1, 2, 3}));
}

// Case 17.
TEST_F(VirtqueueMalformedTest, UsedIndexOverwrittenByTheGuestIsNotReadBack) {
  const VirtqueueState state = driver_.state();
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue();
  ASSERT_TRUE(memory_->StoreRelease16(GuestAddress{state.used_ring + 2}, 0x1234));

  queue.Complete(*queue.Pop(), 1);

  EXPECT_EQ(driver_.used_index(), 1);
}

TEST_F(VirtqueueMalformedTest, BrokenQueueGivesNoChainsAndIsReportedOnce) {
  driver_.Publish(kSize);
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue();

  EXPECT_FALSE(queue.Pop());
  EXPECT_FALSE(queue.Pop());
  queue.Break();

  EXPECT_EQ(events_.needs_reset, 1);
}

TEST_F(VirtqueueMalformedTest, BrokenQueueDropsCompletions) {
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue();
  auto chain = queue.Pop();
  queue.Break();

  queue.Complete(*std::move(chain), 1);
  queue.Notify();

  EXPECT_EQ(driver_.used_index(), 0);
  EXPECT_EQ(events_.used_buffers, 0);
}

TEST_F(VirtqueueMalformedTest, ProcessLaterReachesTheTransport) {
  Virtqueue queue = MakeQueue();
  queue.ProcessLater();
  EXPECT_EQ(events_.process_later, 1);
}

}  // namespace
}  // namespace mayfly
