#include "devices/virtio/blk/blk.h"

#include <gtest/gtest.h>

#include "devices/virtio/blk/blk_abi.h"
#include "tests/unit/devices/virtio/blk/blk_fixture.h"

namespace mayfly {
namespace {

using BlkTest = BlkFixture;

// What is done at once, and what goes to the backend.

TEST_F(BlkTest, ReadFromMemoryIsAnsweredBeforeTheKickReturns) {
  backend_->cached = true;
  const uint16_t head = driver_.Chain().Readable(In(3)).Writable(512).Writable(1).Submit();

  driver_.Kick();

  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{head, 513}));
  EXPECT_EQ(driver_.Written(head).front(), Disk(3 * size_t{512}, 1)[0]);
  EXPECT_EQ(backend_->commits, 0);
  EXPECT_EQ(line_.raised, 1);
}

TEST_F(BlkTest, AfterAReadFromMemoryTheLoopLooksOnceMoreBeforeItAsksForAKick) {
  Start(std::make_unique<FakeBlkBackend>(kSectors * 512), UINT64_MAX, {}, KickMode::kLoop);
  driver_.Start(UINT64_MAX);  // With the event index.
  backend_->cached = true;
  const auto read = [this] {
    const uint16_t avail = driver_.queue().avail_index();
    driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
    return driver_.queue().WantsKick(avail);
  };
  read();
  driver_.Kick();
  RunReady(loop_.get());
  ASSERT_TRUE(driver_.PopUsed());

  EXPECT_FALSE(read());
  RunReady(loop_.get());
  EXPECT_TRUE(driver_.PopUsed());

  // It found nothing any more.
  Settle();
  EXPECT_TRUE(read());
}

TEST_F(BlkTest, ReadThatHasToWaitLeavesTheKicksThread) {
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();

  driver_.Kick();
  EXPECT_EQ(backend_->commits, 0);
  Settle();

  EXPECT_EQ(backend_->reads, 1);
  EXPECT_TRUE(driver_.PopUsed());
}

TEST_F(BlkTest, AfterOneReadThatHasToWaitTheOthersAreNotTried) {
  for (int i = 0; i < 4; ++i) driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();

  Kick();

  EXPECT_EQ(backend_->reads_now, 1);
  EXPECT_EQ(backend_->reads, 4);
  EXPECT_EQ(backend_->commits, 1);
}

TEST_F(BlkTest, AnswersComeInTheOrderOfTheCompletions) {
  backend_->hold = true;
  const uint16_t first = driver_.Chain().Readable(In(1)).Writable(512).Writable(1).Submit();
  const uint16_t second = driver_.Chain().Readable(In(2)).Writable(512).Writable(1).Submit();
  Kick();
  ASSERT_EQ(backend_->held().size(), 2);
  const uint64_t second_token = backend_->held()[1].token;

  backend_->Complete(second_token, {});
  Settle();
  EXPECT_EQ(driver_.PopUsed()->head, second);
  EXPECT_FALSE(driver_.PopUsed());

  backend_->Release(1);
  Settle();
  EXPECT_EQ(driver_.PopUsed()->head, first);
}

TEST_F(BlkTest, ManyInFlightNeedNoKickForTheNext) {
  Start(std::make_unique<FakeBlkBackend>(kSectors * 512));
  driver_.Start(UINT64_MAX);  // With the event index.
  backend_->hold = true;
  for (int i = 0; i < 4; ++i) driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  const uint16_t avail = driver_.queue().avail_index();
  driver_.Chain().Readable(In(1)).Writable(512).Writable(1).Submit();
  EXPECT_FALSE(driver_.queue().WantsKick(avail));

  backend_->Release(4);
  Settle();

  ASSERT_EQ(backend_->held().size(), 1);
  EXPECT_EQ(backend_->held()[0].offset, 512);
}

TEST_F(BlkTest, FewInFlightAreToBeKickedFor) {
  driver_.Start(UINT64_MAX);
  backend_->hold = true;
  for (int i = 0; i < 3; ++i) driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  const uint16_t avail = driver_.queue().avail_index();
  driver_.Chain().Readable(In(1)).Writable(512).Writable(1).Submit();
  EXPECT_TRUE(driver_.queue().WantsKick(avail));
}

// A driver may submit one chain over and over without waiting for it: the ring is no limit.
TEST_F(BlkTest, WhatIsInFlightIsLimited) {
  backend_->hold = true;
  const uint16_t head = driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  for (int i = 1; i < 256; ++i) driver_.queue().Publish(head);
  Kick();
  for (int i = 0; i < 256; ++i) driver_.queue().Publish(head);
  Kick();
  EXPECT_EQ(backend_->held().size(), 256);

  backend_->Release(10);
  Settle();

  EXPECT_EQ(backend_->held().size(), 256);
}

TEST_F(BlkTest, BytesInFlightAreLimited) {
  Start(std::make_unique<FakeBlkBackend>(8 << 20));
  backend_->hold = true;
  for (int i = 0; i < 20; ++i) {
    driver_.Chain().Readable(In(0)).WritableAt(16 << 20, 8 << 20).Writable(1).Submit();
  }
  Kick();
  Settle();
  Settle();
  EXPECT_EQ(backend_->held().size(), 8);
}

// Reset and pause with requests in flight.

// Case 24.
TEST_F(BlkTest, ResetWaitsForWhatIsInFlight) {
  backend_->hold = true;
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  ASSERT_EQ(backend_->held().size(), 1);

  driver_.Reset();

  EXPECT_EQ(backend_->drains, 1);
  EXPECT_EQ(backend_->reads, 1);
  Settle();
  EXPECT_FALSE(driver_.PopUsed());
  EXPECT_EQ(line_.raised, 0);
}

// The class of CVE-2026-45782.
TEST_F(BlkTest, CompletionOfBeforeAResetIsDropped) {
  backend_->hold = true;
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  const uint64_t token = backend_->held()[0].token;
  driver_.Reset();
  driver_.Start();
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();

  backend_->Complete(token, {});
  Settle();

  EXPECT_FALSE(driver_.PopUsed());
  backend_->Release();
  Settle();
  EXPECT_TRUE(driver_.PopUsed());
}

TEST_F(BlkTest, SecondCompletionOfARequestIsDropped) {
  backend_->hold = true;
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  const uint64_t token = backend_->held()[0].token;
  backend_->Complete(token, {});
  backend_->Complete(token, {});
  backend_->Complete(~token, {});

  Settle();

  EXPECT_TRUE(driver_.PopUsed());
  EXPECT_FALSE(driver_.PopUsed());
}

// Number 0 is that of every free place in the table.
TEST_F(BlkTest, CompletionWithATokenThatWasNeverGivenIsDropped) {
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  ASSERT_TRUE(driver_.PopUsed());
  backend_->Complete(0, {});
  Settle();
  backend_->hold = true;
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();

  device_->Drain();

  EXPECT_TRUE(driver_.PopUsed());
}

TEST_F(BlkTest, ResetForgetsWhatWasLeftForTheLoop) {
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  driver_.Kick();

  driver_.Reset();
  Settle();

  EXPECT_EQ(backend_->reads, 0);
  driver_.Start();
  EXPECT_EQ(ReadStatus(0, 512), kOk);
}

TEST_F(BlkTest, ThousandResetsInFlight) {
  backend_->hold = true;
  for (int i = 0; i < 1000; ++i) {
    driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
    driver_.Kick();
    RunReady(loop_.get());
    driver_.Reset();
    driver_.Start();
  }
  backend_->hold = false;
  EXPECT_EQ(ReadStatus(0, 512), kOk);
}

TEST_F(BlkTest, PauseCompletesWhatIsInFlight) {
  backend_->hold = true;
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();

  transport_->Pause();

  EXPECT_TRUE(driver_.PopUsed());
  EXPECT_EQ(line_.raised, 1);
}

TEST_F(BlkTest, PausedDeviceStartsNothingBeforeItResumes) {
  transport_->Pause();
  driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick();
  EXPECT_EQ(backend_->reads, 0);

  transport_->Resume();
  Settle();

  EXPECT_EQ(backend_->reads, 1);
  EXPECT_TRUE(driver_.PopUsed());
}

TEST_F(BlkTest, PauseWaitsForTheFlushOfAWriteThrough) {
  Start(std::make_unique<FakeBlkBackend>(512), 0);
  backend_->hold = true;
  driver_.Chain().Readable(Out(0)).Readable(Bytes(512)).Writable(1).Submit();
  Kick();

  transport_->Pause();

  EXPECT_EQ(backend_->flushes, 1);
  EXPECT_TRUE(driver_.PopUsed());
}

}  // namespace
}  // namespace mayfly
