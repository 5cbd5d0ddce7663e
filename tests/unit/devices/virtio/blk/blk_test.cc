#include "devices/virtio/blk/blk.h"

#include <gtest/gtest.h>

#include "devices/virtio/blk/blk_abi.h"
#include "tests/unit/devices/virtio/blk/blk_fixture.h"

namespace mayfly {
namespace {

using blk::RequestHeader;

using BlkTest = BlkFixture;

// Registers and configuration.

TEST_F(BlkTest, ConfigurationDescribesTheDisk) {
  const auto config = driver_.ReadConfig<blk::Config>(0);

  EXPECT_EQ(config.capacity, kSectors);
  EXPECT_EQ(config.seg_max, 254);
  EXPECT_EQ(config.blk_size, 512);
}

TEST_F(BlkTest, ConfigurationReadsZeroBeyondWhatItHas) {
  EXPECT_EQ(driver_.ReadConfig(64, 8), Bytes(8, 0));
}

TEST_F(BlkTest, ConfigurationIgnoresWrites) {
  driver_.WriteConfig(0, Bytes(8, 0xff));
  EXPECT_EQ(driver_.ReadConfig<uint64_t>(0), kSectors);
}

TEST_F(BlkTest, OffersReadOnlyForAReadOnlyDiskOnly) {
  EXPECT_EQ(driver_.offered_features() & blk::kFeatureReadOnly, 0);
  Start(std::make_unique<FakeBlkBackend>(512, true));
  EXPECT_NE(driver_.offered_features() & blk::kFeatureReadOnly, 0);
}

TEST_F(BlkTest, IncompleteLastSectorIsNotPartOfTheDisk) {
  Start(std::make_unique<FakeBlkBackend>(1023));
  EXPECT_EQ(driver_.ReadConfig<uint64_t>(0), 1);
}

// Happy path.

TEST_F(BlkTest, ReadReturnsTheSectors) {
  const Answer answer = Ask(driver_.Chain().Readable(In(3)).Writable(1024).Writable(1));

  EXPECT_EQ(answer, (Answer{1025, kOk, Disk(3 * size_t{512}, 1024)}));
  EXPECT_EQ(driver_.TakeInterrupt(), mmio::kInterruptUsedBuffer);
}

TEST_F(BlkTest, WriteChangesTheSectors) {
  const Answer answer =
      Ask(driver_.Chain().Readable(Out(1)).Readable(Bytes(512, 0x77)).Writable(1));

  EXPECT_EQ(answer, (Answer{1, kOk, {}}));
  EXPECT_EQ(Disk(512, 512), Bytes(512, 0x77));
  EXPECT_EQ(backend_->flushes, 0);
}

TEST_F(BlkTest, FlushReachesTheBackend) {
  EXPECT_EQ(FlushStatus(), kOk);
  EXPECT_EQ(backend_->flushes, 1);
}

TEST_F(BlkTest, DriverWithoutFlushGetsWriteThrough) {
  Start(std::make_unique<FakeBlkBackend>(512), 0);
  EXPECT_EQ(WriteStatus(0, 512), kOk);
  EXPECT_EQ(backend_->flushes, 1);
}

TEST_F(BlkTest, GetIdIsPaddedWithZeros) {
  const Answer answer =
      Ask(driver_.Chain().Readable(Request(blk::kTypeGetId)).Writable(20).Writable(1));

  EXPECT_EQ(answer, (Answer{21, kOk, {'f', 'a', 'k', 'e', '-', 'd', 'i', 's', 'k', 0,
                                      0,   0,   0,   0,   0,   0,   0,   0,   0,   0}}));
}

TEST_F(BlkTest, LongIdIsCut) {
  Start(std::make_unique<FakeBlkBackend>(512), UINT64_MAX,
        {.serial = "a-very-long-name-of-a-disk"});
  const Answer answer =
      Ask(driver_.Chain().Readable(Request(blk::kTypeGetId)).Writable(20).Writable(1));

  EXPECT_EQ(std::string(answer.data.begin(), answer.data.end()), "a-very-long-name-of-");
}

// Case 29.
TEST_F(BlkTest, AnyFramingWorks) {
  Bytes header(sizeof(RequestHeader));
  StoreLe(header, In(1));
  const Answer answer = Ask(driver_.Chain()
                                .Readable(std::span(header).first(1))
                                .Readable(std::span(header).subspan(1, 10))
                                .Readable(std::span(header).subspan(11))
                                .Writable(100)
                                .Writable(400)
                                .Writable(13));

  EXPECT_EQ(answer, (Answer{513, kOk, Disk(512, 512)}));
}

TEST_F(BlkTest, HeaderAndDataMayShareADescriptor) {
  Bytes request(16 + 512, 0x66);
  StoreLe(request, Out(2));

  EXPECT_EQ(Ask(driver_.Chain().Readable(request).Writable(1)).status, kOk);

  EXPECT_EQ(Disk(1024, 512), Bytes(512, 0x66));
}

TEST_F(BlkTest, RequestOfAllDescriptorsWorks) {
  Start(std::make_unique<FakeBlkBackend>(254 * 512));
  auto chain = driver_.Chain();
  chain.Readable(In(0));
  for (int i = 0; i < 254; ++i) chain.Writable(512);
  chain.Writable(1);

  EXPECT_EQ(Ask(std::move(chain)), (Answer{254 * 512 + 1, kOk, Disk(0, 254 * size_t{512})}));
}

TEST_F(BlkTest, AllRequestsOfAKickAreServedInOrder) {
  const uint16_t first =
      driver_.Chain().Readable(Out(0)).Readable(Bytes(512, 1)).Writable(1).Submit();
  const uint16_t second = driver_.Chain().Readable(In(0)).Writable(512).Writable(1).Submit();

  Kick();

  EXPECT_EQ(driver_.PopUsed()->head, first);
  EXPECT_EQ(driver_.PopUsed()->head, second);
  EXPECT_EQ(driver_.Written(second).front(), 1);
  EXPECT_EQ(line_.raised, 1);
}

TEST_F(BlkTest, EmptyReadIsOk) { EXPECT_EQ(ReadStatus(kSectors, 0), kOk); }

// Malformed requests.

// Case 26.
TEST_F(BlkTest, ReadBeyondTheEndFails) {
  EXPECT_EQ(ReadStatus(kSectors - 1, 512), kOk);
  EXPECT_EQ(ReadStatus(kSectors - 1, 1024), kIoError);
  EXPECT_EQ(ReadStatus(kSectors, 512), kIoError);
  EXPECT_EQ(backend_->reads, 1);
}

TEST_F(BlkTest, SectorThatWrapsFails) {
  EXPECT_EQ(ReadStatus(UINT64_MAX, 512), kIoError);
  EXPECT_EQ(ReadStatus(UINT64_MAX, 1024), kIoError);
  EXPECT_EQ(ReadStatus(1ULL << 55, 512), kIoError);  // Times 512 it would be 0.
  EXPECT_EQ(WriteStatus(UINT64_MAX, 512), kIoError);
  EXPECT_EQ(WriteStatus(1ULL << 55, 512), kIoError);
  EXPECT_EQ(backend_->reads + backend_->writes, 0);
}

TEST_F(BlkTest, WriteBeyondTheEndChangesNothing) {
  const Bytes before = backend_->disk;
  EXPECT_EQ(WriteStatus(kSectors - 1, 1024), kIoError);
  EXPECT_EQ(backend_->disk, before);
}

TEST_F(BlkTest, FailedReadWritesNothingButItsStatus) {
  const Answer answer = Ask(driver_.Chain().Readable(In(kSectors)).Writable(512).Writable(1));
  EXPECT_EQ(answer, (Answer{0, kIoError, Bytes(512, kUntouched)}));
}

// Case 27.
TEST_F(BlkTest, LengthThatIsNoMultipleOfASectorFails) {
  EXPECT_EQ(ReadStatus(0, 511), kIoError);
  EXPECT_EQ(ReadStatus(0, 513), kIoError);
  EXPECT_EQ(WriteStatus(0, 1), kIoError);
  EXPECT_EQ(backend_->reads + backend_->writes, 0);
}

TEST_F(BlkTest, GetIdWithoutRoomForItWritesNoPartOfIt) {
  const auto get_id = [this](uint32_t length) {
    return Ask(driver_.Chain().Readable(Request(blk::kTypeGetId)).Writable(length).Writable(1));
  };
  EXPECT_EQ(get_id(1), (Answer{0, kIoError, Bytes(1, kUntouched)}));
  EXPECT_EQ(get_id(19), (Answer{0, kIoError, Bytes(19, kUntouched)}));
}

// Case 28.
TEST_F(BlkTest, WriteWithoutRoomForItsStatusIsNotExecuted) {
  const Answer answer = Ask(driver_.Chain().Readable(Out(0)).Readable(Bytes(512, 0x77)));
  EXPECT_EQ(answer.used_length, 0);
  EXPECT_EQ(backend_->writes, 0);
}

TEST_F(BlkTest, ZeroLengthStatusIsNoStatus) {
  const Answer answer =
      Ask(driver_.Chain().Readable(Out(0)).Readable(Bytes(512, 0x77)).Writable(0));
  EXPECT_EQ(answer.used_length, 0);
  EXPECT_EQ(backend_->writes, 0);
}

TEST_F(BlkTest, StatusInADevicesRegistersBreaksTheQueue) {
  driver_.Chain().Readable(Out(0)).Readable(Bytes(512)).WritableAt(0xd000'0000, 1).Submit();

  Kick();

  EXPECT_TRUE(NeedsReset());
  EXPECT_EQ(backend_->writes, 0);
}

TEST_F(BlkTest, StatusIsWrittenLast) {
  const GuestAddress data = driver_.queue().Allocate(512);
  const Answer answer =
      Ask(driver_.Chain().Readable(In(1)).WritableAt(data.value, 512).WritableAt(data.value, 1));
  EXPECT_EQ(answer.status, kOk);
  EXPECT_EQ(answer.data[0], kOk);
  EXPECT_EQ(answer.data[1], Disk(513, 1)[0]);
}

TEST_F(BlkTest, HeaderThatIsTooShortFails) {
  EXPECT_EQ(Ask(driver_.Chain().Readable(Bytes(15)).Writable(513)).status, kIoError);
  EXPECT_EQ(Ask(driver_.Chain().Writable(513)).status, kIoError);
  EXPECT_EQ(backend_->reads, 0);
}

// Case 30.
TEST_F(BlkTest, WriteToAReadOnlyDiskFails) {
  Start(std::make_unique<FakeBlkBackend>(512, true));
  EXPECT_EQ(WriteStatus(0, 512), kIoError);
  EXPECT_EQ(backend_->writes, 0);
}

TEST_F(BlkTest, UnknownTypesAreUnsupported) {
  const auto status_of = [this](uint32_t type) {
    return Ask(driver_.Chain().Readable(Request(type)).Readable(Bytes(16, 0xff)).Writable(1))
        .status;
  };
  EXPECT_EQ(status_of(2), kUnsupported);   // SCSI_CMD
  EXPECT_EQ(status_of(14), kUnsupported);  // SECURE_ERASE
  EXPECT_EQ(status_of(0xffff'ffff), kUnsupported);
}

TEST_F(BlkTest, RequestAboveTheCapFails) {
  Start(std::make_unique<FakeBlkBackend>(16 << 20));
  const auto read = [this](uint32_t length) {
    return Ask(driver_.Chain().Readable(In(0)).WritableAt(16 << 20, length).Writable(1)).status;
  };
  EXPECT_EQ(read(8 << 20), kOk);
  EXPECT_EQ(read((8 << 20) + 512), kIoError);
  EXPECT_EQ(backend_->reads, 1);
}

TEST_F(BlkTest, CyclicChainBreaksTheQueue) {
  driver_.queue().WriteDescriptor(0, {0x1000, 16, kFakeNext, 0});
  driver_.queue().Publish(0);

  Kick();

  EXPECT_TRUE(NeedsReset());
}

// The rest of a long queue is served in further turns, on the loop.
TEST_F(BlkTest, TurnEndsAfterTheBytesOfOneLargestRequest) {
  Start(std::make_unique<FakeBlkBackend>(8 << 20));
  backend_->cached = true;
  const auto read_all = [this] {
    driver_.Chain().Readable(In(0)).WritableAt(16 << 20, 8 << 20).Writable(1).Submit();
  };
  read_all();
  read_all();

  driver_.Kick();
  EXPECT_EQ(backend_->reads_now, 1);
  Settle();

  EXPECT_EQ(backend_->reads_now, 2);
  EXPECT_TRUE(driver_.PopUsed());
  EXPECT_TRUE(driver_.PopUsed());
}

// Backend failure (case 31).

TEST_F(BlkTest, FailedReadIsAnIoErrorAndTheNextOneWorks) {
  backend_->fail_read = true;
  EXPECT_EQ(ReadStatus(0, 512), kIoError);
  backend_->fail_read = false;
  EXPECT_EQ(ReadStatus(0, 512), kOk);
}

TEST_F(BlkTest, FailedWriteIsAnIoErrorAndTheNextOneWorks) {
  backend_->fail_write = true;
  EXPECT_EQ(WriteStatus(0, 512), kIoError);
  backend_->fail_write = false;
  EXPECT_EQ(WriteStatus(0, 512), kOk);
}

// Case 32.
TEST_F(BlkTest, FailedFlushIsAnIoError) {
  backend_->fail_flush = true;
  EXPECT_EQ(FlushStatus(), kIoError);
}

TEST_F(BlkTest, WriteThroughThatCannotSyncIsAnIoError) {
  Start(std::make_unique<FakeBlkBackend>(512), 0);
  backend_->fail_flush = true;
  EXPECT_EQ(WriteStatus(0, 512), kIoError);
}

// State.

TEST_F(BlkTest, StateRoundTrips) {
  const BlkState state = device_->Save();
  const auto restored = Restore(std::make_unique<FakeBlkBackend>(kSectors * 512), state);

  ASSERT_TRUE(restored);
  EXPECT_EQ((*restored)->Save(), state);
}

TEST_F(BlkTest, RestoredDeviceServesTheNextRequest) {
  EXPECT_EQ(ReadStatus(0, 512), kOk);
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

  EXPECT_EQ(ReadStatus(1, 512), kOk);
}

TEST_F(BlkTest, DiskOfAnotherSizeIsRefused) {
  const auto restored = Restore(std::make_unique<FakeBlkBackend>(512),
                                {.capacity_sectors = 64, .read_only = false, .block_size = 512});
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().message(),
            "disk0: capacity_sectors is 64 in the snapshot, the disk has 1");
}

TEST_F(BlkTest, DiskThatBecameReadOnlyIsRefused) {
  const auto restored = Restore(std::make_unique<FakeBlkBackend>(512, true),
                                {.capacity_sectors = 1, .read_only = false, .block_size = 512});
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().message(),
            "disk0: read_only is false in the snapshot, true for the disk");
}

}  // namespace
}  // namespace mayfly
