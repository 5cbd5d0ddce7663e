#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "devices/virtio/blk/blk.h"
#include "devices/virtio/blk/blk_abi.h"
#include "tests/unit/devices/virtio/blk/blk_fixture.h"

namespace mayfly {
namespace {

using blk::RangeSegment;

// Discard and write zeroes.

class BlkRangeTest : public BlkFixture {
 protected:
  uint8_t Discard(const RangeSegment& segment) { return Range(blk::kTypeDiscard, segment); }
  uint8_t WriteZeroes(const RangeSegment& segment) { return Range(blk::kTypeWriteZeroes, segment); }
  uint8_t Range(uint32_t type, const RangeSegment& segment) {
    return Ask(driver_.Chain().Readable(Request(type)).Readable(segment).Writable(1)).status;
  }
};

TEST_F(BlkRangeTest, LimitsAreInTheConfiguration) {
  const auto config = driver_.ReadConfig<blk::Config>(0);
  EXPECT_EQ(config.max_discard_sectors, (1 << 30) / 512);
  EXPECT_EQ(config.max_discard_seg, 1);
  EXPECT_EQ(config.max_write_zeroes_sectors, (32 << 20) / 512);
  EXPECT_EQ(config.max_write_zeroes_seg, 1);
  EXPECT_EQ(config.write_zeroes_may_unmap, 1);
}

TEST_F(BlkRangeTest, ReadOnlyDiskOffersNeither) {
  Start(std::make_unique<FakeBlkBackend>(512, true));
  EXPECT_EQ(driver_.offered_features() & (blk::kFeatureDiscard | blk::kFeatureWriteZeroes), 0);
}

TEST_F(BlkRangeTest, DiscardReachesTheBackend) {
  EXPECT_EQ(Discard({3, 2, 0}), kOk);
  EXPECT_EQ(backend_->last_range.operation, BlkOperation::kDiscard);
  EXPECT_EQ(backend_->last_range.offset, 3 * 512);
  EXPECT_EQ(backend_->last_range.length, 1024);
}

TEST_F(BlkRangeTest, WriteZeroesReachesTheBackend) {
  EXPECT_EQ(WriteZeroes({3, 2, blk::kRangeUnmap}), kOk);
  EXPECT_TRUE(backend_->last_range.may_unmap);
  EXPECT_EQ(Disk(3 * size_t{512}, 1024), Bytes(1024, 0));
  EXPECT_EQ(WriteZeroes({3, 2, 0}), kOk);
  EXPECT_FALSE(backend_->last_range.may_unmap);
}

// Case 30.
TEST_F(BlkRangeTest, UnknownFlagsAreUnsupported) {
  EXPECT_EQ(Discard({0, 1, blk::kRangeUnmap}), kUnsupported);
  EXPECT_EQ(Discard({0, 1, 2}), kUnsupported);
  EXPECT_EQ(WriteZeroes({0, 1, 2}), kUnsupported);
  EXPECT_EQ(WriteZeroes({0, 1, 0x8000'0001}), kUnsupported);
  EXPECT_EQ(backend_->last_range.length, 0);
}

// Case 26.
TEST_F(BlkRangeTest, RangeOutsideOfTheDiskFails) {
  EXPECT_EQ(Discard({kSectors - 1, 2, 0}), kIoError);
  EXPECT_EQ(Discard({UINT64_MAX, 1, 0}), kIoError);
  EXPECT_EQ(WriteZeroes({1ULL << 55, 1, 0}), kIoError);
  EXPECT_EQ(WriteZeroes({0, UINT32_MAX, 0}), kIoError);
  EXPECT_EQ(backend_->last_range.length, 0);
}

TEST_F(BlkRangeTest, RangeAboveTheLimitFails) {
  Start(std::make_unique<FakeBlkBackend>(33 << 20));
  EXPECT_EQ(WriteZeroes({0, (32 << 20) / 512, 0}), kOk);
  EXPECT_EQ(WriteZeroes({0, (32 << 20) / 512 + 1, 0}), kIoError);
}

TEST_F(BlkRangeTest, EmptyRangeIsOk) { EXPECT_EQ(Discard({kSectors, 0, 0}), kOk); }

TEST_F(BlkRangeTest, OtherThanOneSegmentFails) {
  const RangeSegment segment{0, 1, 0};
  EXPECT_EQ(Ask(driver_.Chain()
                    .Readable(Request(blk::kTypeDiscard))
                    .Readable(segment)
                    .Readable(segment)
                    .Writable(1))
                .status,
            kIoError);
  EXPECT_EQ(Ask(driver_.Chain().Readable(Request(blk::kTypeDiscard)).Writable(1)).status, kIoError);
  EXPECT_EQ(
      Ask(driver_.Chain().Readable(Request(blk::kTypeDiscard)).Readable(Bytes(15)).Writable(1))
          .status,
      kIoError);
}

TEST_F(BlkRangeTest, ReadOnlyDiskIsNotChanged) {
  Start(std::make_unique<FakeBlkBackend>(512, true));
  EXPECT_EQ(Discard({0, 1, 0}), kIoError);
  EXPECT_EQ(WriteZeroes({0, 1, 0}), kIoError);
  EXPECT_EQ(backend_->last_range.length, 0);
}

TEST_F(BlkRangeTest, DiskThatCannotDiscardSaysSo) {
  backend_->cannot_discard = true;
  EXPECT_EQ(Discard({0, 1, 0}), kUnsupported);
}

TEST_F(BlkRangeTest, ZeroesWithoutAFlushFeatureAreFlushed) {
  Start(std::make_unique<FakeBlkBackend>(512), 0);
  EXPECT_EQ(WriteZeroes({0, 1, 0}), kOk);
  EXPECT_EQ(backend_->flushes, 1);
}

// Queues, block sizes.

using BlkQueuesTest = BlkFixture;

TEST_F(BlkQueuesTest, AsManyAsConfigured) {
  Start(std::make_unique<FakeBlkBackend>(512), UINT64_MAX, {.queues = 3});
  EXPECT_EQ(driver_.queue_count(), 3);
  EXPECT_EQ(driver_.ReadConfig<blk::Config>(0).num_queues, 3);
  EXPECT_NE(driver_.offered_features() & blk::kFeatureMultiQueue, 0);
}

TEST_F(BlkQueuesTest, EachGetsItsOwnAnswers) {
  Start(std::make_unique<FakeBlkBackend>(kSectors * 512), UINT64_MAX, {.queues = 2});
  backend_->hold = true;
  driver_.Chain(1).Readable(In(1)).Writable(512).Writable(1).Submit();
  Kick(1);
  driver_.Chain(0).Readable(In(0)).Writable(512).Writable(1).Submit();
  Kick(0);

  backend_->Release(1);
  Settle();

  EXPECT_FALSE(driver_.PopUsed(0));
  EXPECT_TRUE(driver_.PopUsed(1));
}

TEST_F(BlkQueuesTest, ImpossibleOptionsAreRefused) {
  const auto refusal_of = [this](BlkOptions options) {
    const auto device = BlkDevice::Create({.name = "disk0",
                                           .backend = std::make_unique<FakeBlkBackend>(512),
                                           .loop = loop_.get(),
                                           .options = std::move(options)});
    return device ? "" : device.error().message();
  };
  EXPECT_EQ(refusal_of({.queues = 0}), "disk0: 0 queues, but 1 to 16 are possible");
  EXPECT_EQ(refusal_of({.queues = 17}), "disk0: 17 queues, but 1 to 16 are possible");
  EXPECT_EQ(refusal_of({.block_size = 1024}),
            "disk0: a block size of 1024, but 512 and 4096 are possible");
}

TEST_F(BlkQueuesTest, BlockSizeIsInTheConfigurationAndCutsTheDisk) {
  Start(std::make_unique<FakeBlkBackend>(2 * 4096 + 512), UINT64_MAX, {.block_size = 4096});
  const auto config = driver_.ReadConfig<blk::Config>(0);
  EXPECT_EQ(config.blk_size, 4096);
  EXPECT_EQ(config.capacity, 16);
  EXPECT_EQ(config.physical_block_exp, 0);
  EXPECT_EQ(config.min_io_size, 1);
}

TEST_F(BlkQueuesTest, OtherBlockSizeThanInTheSnapshotIsRefused) {
  const auto restored = Restore(std::make_unique<FakeBlkBackend>(512),
                                {.capacity_sectors = 1, .read_only = false, .block_size = 4096});
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().message(),
            "disk0: block_size is 4096 in the snapshot, 512 for the disk");
}

// Rate limits.

class BlkRateTest : public BlkFixture {
 protected:
  void StartWith(const RateLimits& limits) {
    Start(std::make_unique<FakeBlkBackend>(kSectors * 512), UINT64_MAX, {.limits = limits});
    backend_->cached = true;
  }
  void SubmitRead() { driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit(); }
  void Wait(std::chrono::milliseconds time) {
    std::this_thread::sleep_for(time);
    Settle();
  }
};

TEST_F(BlkRateTest, OperationsAboveTheLimitWaitAndThenGoOn) {
  StartWith({.operations = {.per_second = 20, .burst = 2}});
  for (int i = 0; i < 3; ++i) SubmitRead();

  // Not how many have been read by now: a slow machine may have waited long enough already.
  Kick();
  EXPECT_EQ(device_->metrics().throttled.value(), 1);
  Wait(std::chrono::milliseconds(60));

  EXPECT_EQ(backend_->reads_now, 3);
}

TEST_F(BlkRateTest, BytesAboveTheLimitWait) {
  StartWith({.bytes = {.per_second = 10'000, .burst = 512}});
  SubmitRead();
  SubmitRead();
  Kick();
  EXPECT_EQ(device_->metrics().throttled.value(), 1);
  Wait(std::chrono::milliseconds(60));
  EXPECT_EQ(backend_->reads_now, 2);
}

TEST_F(BlkRateTest, KicksDoNotGetAroundTheLimit) {
  StartWith({.operations = {.per_second = 1, .burst = 1}});
  SubmitRead();
  SubmitRead();
  for (int i = 0; i < 100; ++i) Kick();
  EXPECT_EQ(backend_->reads_now, 1);
  EXPECT_EQ(device_->metrics().throttled.value(), 1);
}

// A request that goes to the backend passes through the device twice.
TEST_F(BlkRateTest, RequestForTheBackendIsPaidForOnce) {
  StartWith({.operations = {.per_second = 1, .burst = 2}});
  backend_->cached = false;
  SubmitRead();
  Kick();
  SubmitRead();
  Kick();
  EXPECT_EQ(backend_->reads, 2);
}

TEST_F(BlkRateTest, ResetEndsTheWait) {
  StartWith({.operations = {.per_second = 20, .burst = 1}});
  SubmitRead();
  SubmitRead();
  Kick();
  driver_.Reset();
  Wait(std::chrono::milliseconds(60));
  driver_.Start();
  SubmitRead();
  Kick();
  EXPECT_EQ(backend_->reads_now, 2);
}

TEST_F(BlkRateTest, RestoredDeviceServesWhatTheLimitHadStopped) {
  StartWith({.operations = {.per_second = 1, .burst = 1}});
  SubmitRead();
  SubmitRead();
  Kick();
  transport_->Pause();
  const MmioState state = transport_->Save();
  transport_.reset();
  auto device = Restore(std::make_unique<FakeBlkBackend>(kSectors * 512), BlkState{});
  transport_ = *MmioTransport::Create({.name = "disk0",
                                       .device = *std::move(device),
                                       .memory = memory_.get(),
                                       .interrupt = &line_,
                                       .loop = loop_.get()},
                                      state);
  driver_.Reattach(transport_.get());

  Settle();

  EXPECT_TRUE(driver_.PopUsed());
  EXPECT_TRUE(driver_.PopUsed());
}

// Metrics.

using BlkMetricsTest = BlkFixture;

TEST_F(BlkMetricsTest, RequestsAreCounted) {
  EXPECT_EQ(ReadStatus(0, 1024), kOk);
  EXPECT_EQ(WriteStatus(0, 512), kOk);
  EXPECT_EQ(FlushStatus(), kOk);
  EXPECT_EQ(ReadStatus(kSectors, 512), kIoError);
  backend_->fail_write = true;
  EXPECT_EQ(WriteStatus(0, 512), kIoError);
  const BlkMetrics& metrics = device_->metrics();
  EXPECT_EQ(metrics.reads.value(), 1);
  EXPECT_EQ(metrics.read_bytes.value(), 1024);
  EXPECT_EQ(metrics.reads_from_cache.value(), 0);
  EXPECT_EQ(metrics.writes.value(), 1);
  EXPECT_EQ(metrics.written_bytes.value(), 512);
  EXPECT_EQ(metrics.flushes.value(), 1);
  EXPECT_EQ(metrics.rejected.value(), 1);
  EXPECT_EQ(metrics.errors.value(), 1);
}

}  // namespace
}  // namespace mayfly
