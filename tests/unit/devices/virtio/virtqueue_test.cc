#include "devices/virtio/virtqueue.h"

#include <chrono>
#include <semaphore>

#include "base/thread.h"
#include "tests/unit/devices/virtio/virtqueue_fixture.h"

namespace mayfly {
namespace {

// The two ends of EventIndexLosesNoWakeUpBetweenTwoThreads. Each returns how many requests it saw
// before the last one, or before it slept too long.
constexpr std::chrono::seconds kPatience{20};

class WaitingEvents final : public QueueEvents {
 public:
  void UsedBuffers() override { interrupts.release(); }
  void NeedsReset() override { ADD_FAILURE(); }

  std::counting_semaphore<> interrupts{0};
};

int ServeSleeping(Virtqueue* queue, int requests, std::counting_semaphore<>* kicks) {
  int served = 0;
  while (true) {
    while (auto chain = queue->Pop()) {
      queue->Complete(*std::move(chain), 1);
      queue->Notify();
      ++served;
    }
    if (served == requests || !kicks->try_acquire_for(kPatience)) return served;
  }
}

int SubmitSleeping(FakeQueue* driver, int requests, std::counting_semaphore<>* kicks,
                   std::counting_semaphore<>* interrupts) {
  for (int i = 0; i < requests; ++i) {
    const uint16_t old_index = driver->avail_index();
    driver->Chain().Writable(1).Submit();
    if (driver->WantsKick(old_index)) kicks->release();
    while (!driver->PopUsed()) {
      if (driver->MaySleep() && !interrupts->try_acquire_for(kPatience)) return i;
    }
  }
  return requests;
}

using VirtqueueTest = VirtqueueFixture;

// Happy path.

TEST_F(VirtqueueTest, PopReturnsReadableAndWritableParts) {
  driver_.Chain().Readable({1, 2, 3}).Readable({4}).Writable(16).Submit();
  Virtqueue queue = MakeQueue();

  const auto chain = queue.Pop();

  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->readable().size(), 2);
  EXPECT_EQ(chain->readable_size(), 4);
  EXPECT_EQ(chain->writable().size(), 1);
  EXPECT_EQ(chain->writable_size(), 16);
  EXPECT_FALSE(queue.Pop());
  EXPECT_FALSE(queue.broken());
}

TEST_F(VirtqueueTest, CopyFromIgnoresTheFraming) {
  driver_.Chain().Readable({1, 2, 3}).Readable({4}).Readable({5, 6}).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();
  Bytes out(4);

  EXPECT_EQ(chain->CopyFrom(*memory_, 1, out), 4);

  EXPECT_EQ(out, (Bytes{2, 3, 4, 5}));
}

TEST_F(VirtqueueTest, CopyFromStopsAtTheEndOfTheReadablePart) {
  driver_.Chain().Readable({1, 2, 3}).Writable(8).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();
  Bytes out(8);

  EXPECT_EQ(chain->CopyFrom(*memory_, 2, out), 1);
  EXPECT_EQ(chain->CopyFrom(*memory_, 3, out), 0);
  EXPECT_EQ(chain->CopyFrom(*memory_, 100, out), 0);
}

TEST_F(VirtqueueTest, CopyToIgnoresTheFraming) {
  const uint16_t head = driver_.Chain().Writable(2).Writable(1).Writable(3).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();

  EXPECT_EQ(chain->CopyTo(*memory_, 1, Bytes{7, 8, 9}), 3);

  EXPECT_EQ(driver_.Written(head), (Bytes{0xaa, 7, 8, 9, 0xaa, 0xaa}));
}

TEST_F(VirtqueueTest, CopyToStopsAtTheEndOfTheWritablePart) {
  const uint16_t head = driver_.Chain().Writable(2).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();

  EXPECT_EQ(chain->CopyTo(*memory_, 1, Bytes{7, 8, 9}), 1);

  EXPECT_EQ(driver_.Written(head), (Bytes{0xaa, 7}));
}

TEST_F(VirtqueueTest, IovecsCoverExactlyTheRangeAskedFor) {
  driver_.Chain().Readable({1, 2, 3}).Writable(2).Writable(3).Submit();
  Virtqueue queue = MakeQueue();
  const auto chain = queue.Pop();

  const auto readable = chain->ReadableIovecs(*memory_, 1, 100);
  const auto writable = chain->WritableIovecs(*memory_, 1, 2);

  ASSERT_EQ(readable.size(), 1);
  EXPECT_EQ(readable[0].iov_len, 2);
  ASSERT_EQ(writable.size(), 2);
  EXPECT_EQ(writable[0].iov_len, 1);
  EXPECT_EQ(writable[1].iov_len, 1);
}

TEST_F(VirtqueueTest, CompleteFillsTheUsedRing) {
  const uint16_t first = driver_.Chain().Writable(16).Submit();
  const uint16_t second = driver_.Chain().Writable(16).Submit();
  Virtqueue queue = MakeQueue();
  auto first_chain = queue.Pop();
  auto second_chain = queue.Pop();

  queue.Complete(*std::move(second_chain), 3);
  queue.Complete(*std::move(first_chain), 16);

  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{second, 3}));
  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{first, 16}));
  EXPECT_FALSE(driver_.PopUsed());
}

TEST_F(VirtqueueTest, UndoPopGivesTheSameChainAgain) {
  const uint16_t first = driver_.Chain().Writable(1).Submit();
  const uint16_t second = driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue();

  queue.UndoPop(*queue.Pop());

  EXPECT_EQ(queue.Pop()->head(), first);
  EXPECT_EQ(queue.Pop()->head(), second);
}

TEST_F(VirtqueueTest, UnusedQueueHasNoChains) {
  Virtqueue queue = MakeQueue(VirtqueueState{});

  EXPECT_FALSE(queue.Pop());
  queue.Notify();

  EXPECT_FALSE(queue.broken());
  EXPECT_EQ(events_.used_buffers, 0);
}

// Case 15, the legal part.
TEST_F(VirtqueueTest, AvailIndexMayWrap) {
  VirtqueueState state = driver_.state();
  state.next_avail = 0xffff;
  driver_.SetAvailIndex(0xffff);
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue(state);

  EXPECT_TRUE(queue.Pop());
  EXPECT_TRUE(queue.Pop());
  EXPECT_FALSE(queue.Pop());

  EXPECT_FALSE(queue.broken());
  EXPECT_EQ(queue.Save().next_avail, 1);
}

// Notifications.

TEST_F(VirtqueueTest, NotifyRaisesOnceForAllThatWasCompleted) {
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue();
  queue.Complete(*queue.Pop(), 1);
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();
  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
}

TEST_F(VirtqueueTest, NotifyRespectsTheDriversFlag) {
  driver_.Chain().Writable(1).Submit();
  driver_.SetAvailFlags(1);
  Virtqueue queue = MakeQueue();
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 0);
}

TEST_F(VirtqueueTest, NotifyWithNothingCompletedIsSilent) {
  Virtqueue queue = MakeQueue();
  queue.Notify();
  EXPECT_EQ(events_.used_buffers, 0);
}

TEST_F(VirtqueueTest, EmptyQueueAsksForTheNextKick) {
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue(true);

  queue.Pop();
  EXPECT_EQ(driver_.avail_event(), 0);
  queue.Pop();
  queue.Pop();

  EXPECT_EQ(driver_.avail_event(), 2);
}

TEST_F(VirtqueueTest, EventIndexHoldsInterruptsBackUntilUsedEventIsPassed) {
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  driver_.SetUsedEvent(1);
  Virtqueue queue = MakeQueue(true);

  queue.Complete(*queue.Pop(), 1);
  queue.Notify();
  EXPECT_EQ(events_.used_buffers, 0);
  queue.Complete(*queue.Pop(), 1);
  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
}

TEST_F(VirtqueueTest, EventIndexInTheMiddleOfABatchRaises) {
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  driver_.SetUsedEvent(1);
  Virtqueue queue = MakeQueue(true);
  queue.Complete(*queue.Pop(), 1);
  queue.Complete(*queue.Pop(), 1);
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
}

TEST_F(VirtqueueTest, EventIndexComparesModulo65536) {
  VirtqueueState state = driver_.state();
  state.next_used = 0xffff;
  state.signalled_used = 0xffff;
  driver_.Chain().Writable(1).Submit();
  driver_.Chain().Writable(1).Submit();
  driver_.SetUsedEvent(0);
  Virtqueue queue = MakeQueue(state, true);

  queue.Complete(*queue.Pop(), 1);
  queue.Notify();
  EXPECT_EQ(events_.used_buffers, 0);
  queue.Complete(*queue.Pop(), 1);
  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
}

// Case 19: a used_event that the index never reaches costs the driver its interrupts, nobody else
// anything.
TEST_F(VirtqueueTest, RandomUsedEventIsHarmless) {
  driver_.Chain().Writable(1).Submit();
  driver_.SetUsedEvent(0x8000);
  Virtqueue queue = MakeQueue(true);
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 0);
  EXPECT_FALSE(queue.broken());
}

TEST_F(VirtqueueTest, UnknownSignalledIndexRaisesInAnyCase) {
  VirtqueueState state = driver_.state();
  state.signalled_used_valid = false;
  driver_.Chain().Writable(1).Submit();
  driver_.SetUsedEvent(0x8000);
  Virtqueue queue = MakeQueue(state, true);
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
  EXPECT_TRUE(queue.Save().signalled_used_valid);
}

TEST_F(VirtqueueTest, OnceAroundTheWholeIndexIsNotTakenForNothing) {
  VirtqueueState state = driver_.state();
  state.signalled_used = 1;  // 65535 completions ago.
  driver_.Chain().Writable(1).Submit();
  Virtqueue queue = MakeQueue(state);
  queue.Complete(*queue.Pop(), 1);

  queue.Notify();

  EXPECT_EQ(events_.used_buffers, 1);
}

// Both sides sleep whenever the rules let them; a wake-up that either loses is a time-out.
TEST_F(VirtqueueTest, EventIndexLosesNoWakeUpBetweenTwoThreads) {
  constexpr int kRequests = 20'000;
  WaitingEvents events;
  std::counting_semaphore<> kicks{0};
  Virtqueue queue = *Virtqueue::Create(driver_.state(), 256, true, memory_.get(), &events);

  int served = 0;
  Thread device("device", [&] { served = ServeSleeping(&queue, kRequests, &kicks); });
  const int answered = SubmitSleeping(&driver_, kRequests, &kicks, &events.interrupts);
  device.Join();

  EXPECT_EQ(answered, kRequests);
  EXPECT_EQ(served, kRequests);
}

// State.

TEST_F(VirtqueueTest, SavedQueueGoesOnWhereItWas) {
  driver_.Chain().Writable(1).Submit();
  const uint16_t second = driver_.Chain().Writable(1).Submit();
  Virtqueue old_queue = MakeQueue();
  old_queue.Complete(*old_queue.Pop(), 1);
  old_queue.Notify();

  const VirtqueueState state = old_queue.Save();
  Virtqueue queue = MakeQueue(state);
  queue.Complete(*queue.Pop(), 1);

  EXPECT_EQ(state.next_avail, 1);
  EXPECT_EQ(state.next_used, 1);
  EXPECT_EQ(state.signalled_used, 1);
  EXPECT_NE(driver_.PopUsed()->head, second);
  EXPECT_EQ(driver_.PopUsed()->head, second);
}

}  // namespace
}  // namespace mayfly
