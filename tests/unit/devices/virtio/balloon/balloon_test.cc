#include "devices/virtio/balloon/balloon.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

#include "devices/virtio/balloon/balloon_abi.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/loop.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;
using std::chrono::milliseconds;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMemory = 1ULL << 30;  // Most of it is never touched.
// Memory that FakeDriver does not use.
constexpr uint64_t kFree = 64ULL << 20;
constexpr uint64_t kAllFeatures =
    balloon::kFeatureStatsQueue | balloon::kFeatureDeflateOnOom | balloon::kFeaturePageReporting;

class BalloonTest : public ::testing::Test {
 protected:
  enum Queue : size_t { kInflate, kDeflate, kStats, kReporting };

  BalloonTest() { Make({}, MmioState{}, milliseconds(20)); }

  void Make(const BalloonState& state, const MmioState& transport_state, milliseconds interval) {
    auto device =
        *BalloonDevice::Create({"balloon", memory_.get(), loop_.get(), interval, nullptr}, state);
    device_ = device.get();
    transport_ = *MmioTransport::Create({.name = "balloon",
                                         .device = std::move(device),
                                         .memory = memory_.get(),
                                         .interrupt = &line_,
                                         .loop = loop_.get()},
                                        transport_state);
    device_->OnConfigChange([this] { transport_->ConfigChanged(); });
    driver_.Reattach(transport_.get());
  }
  void Start(uint64_t features = kAllFeatures) { driver_.Start(features, 128); }

  // Gives the pages with these numbers to the balloon.
  uint16_t Inflate(const std::vector<uint32_t>& numbers) {
    const uint16_t head = driver_.Chain(kInflate).Readable(AsBytes(numbers)).Submit();
    driver_.Kick(kInflate);
    return head;
  }
  static Bytes AsBytes(const std::vector<uint32_t>& numbers) {
    Bytes bytes(numbers.size() * sizeof(uint32_t));
    std::memcpy(bytes.data(), numbers.data(), bytes.size());
    return bytes;
  }
  static uint32_t Number(uint64_t address) { return static_cast<uint32_t>(address / kPage); }

  void Mark(uint64_t address) { ASSERT_TRUE(memory_->WriteValue(GuestAddress{address}, kMark)); }
  bool IsMarked(uint64_t address) {
    uint32_t value = 0;
    EXPECT_TRUE(memory_->ReadValue(GuestAddress{address}, &value));
    return value == kMark;
  }
  bool NeedsReset() { return (driver_.status() & mmio::kStatusNeedsReset) != 0; }

  static constexpr uint32_t kMark = 0x600dda7a;

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kMemory);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  std::unique_ptr<MmioTransport> transport_;
  BalloonDevice* device_ = nullptr;
  FakeDriver driver_{memory_.get(), nullptr};
};

// Registers and configuration.

TEST_F(BalloonTest, IsABalloonThatReportsFreePages) {
  Start();
  EXPECT_EQ(driver_.ReadRegister(mmio::kDeviceId), 5);
  EXPECT_NE(driver_.offered_features() & balloon::kFeaturePageReporting, 0);
  EXPECT_NE(driver_.offered_features() & balloon::kFeatureStatsQueue, 0);
  EXPECT_EQ(driver_.offered_features() & balloon::kFeatureDeflateOnOom, 0);
}

TEST_F(BalloonTest, TargetIsToldToTheDriver) {
  Start();

  ASSERT_TRUE(device_->SetTarget((64ULL << 20) + 1));

  EXPECT_EQ(driver_.ReadConfig<uint32_t>(0), (64ULL << 20) / kPage);
  EXPECT_EQ(driver_.TakeInterrupt(), mmio::kInterruptConfigChange);
  EXPECT_EQ(device_->metrics().target.value(), 64ULL << 20);
}

TEST_F(BalloonTest, TargetBeyondTheMemoryIsRefused) {
  Start();
  EXPECT_EQ(device_->SetTarget(kMemory + 1).error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(driver_.ReadConfig<uint32_t>(0), 0);
}

TEST_F(BalloonTest, OnlyTheActualSizeCanBeWritten) {
  Start();
  driver_.WriteConfig(0, Bytes(4, 0xff));
  driver_.WriteConfig(5, Bytes(1, 0xff));
  driver_.WriteConfig(4, Bytes{0x10, 0, 0, 0});

  EXPECT_EQ(driver_.ReadConfig<uint64_t>(0), 0x10ULL << 32);
  EXPECT_EQ(driver_.ReadConfig(8, 8), Bytes(8, 0));
  EXPECT_EQ(device_->metrics().actual.value(), 0x10 * kPage);
}

// Happy path.

TEST_F(BalloonTest, InflatedPagesGoToTheHost) {
  Start();
  Mark(kFree);
  Mark(kFree + kPage);
  Mark(kFree + 2 * kPage);

  const uint16_t head = Inflate({Number(kFree), Number(kFree + 2 * kPage)});

  EXPECT_EQ(driver_.PopUsed(kInflate), (FakeUsed{head, 0}));
  EXPECT_FALSE(IsMarked(kFree));
  EXPECT_TRUE(IsMarked(kFree + kPage));
  EXPECT_FALSE(IsMarked(kFree + 2 * kPage));
  EXPECT_EQ(device_->metrics().inflated.value(), 2 * kPage);
}

TEST_F(BalloonTest, NeighboursInAnyOrderAreOnePiece) {
  Start();
  std::vector<uint32_t> numbers(256);
  std::iota(numbers.rbegin(), numbers.rend(), Number(kFree));
  Mark(kFree);
  Mark(kFree + 255 * kPage);

  Inflate(numbers);

  EXPECT_FALSE(IsMarked(kFree));
  EXPECT_FALSE(IsMarked(kFree + 255 * kPage));
  EXPECT_EQ(device_->metrics().inflated.value(), 256 * kPage);
}

TEST_F(BalloonTest, DeflatedPagesAreTheGuestsAgain) {
  Start();
  Inflate({Number(kFree)});

  const uint16_t head = driver_.Chain(kDeflate).Readable(AsBytes({Number(kFree)})).Submit();
  driver_.Kick(kDeflate);
  Mark(kFree);

  EXPECT_EQ(driver_.PopUsed(kDeflate), (FakeUsed{head, 0}));
  EXPECT_TRUE(IsMarked(kFree));
  EXPECT_EQ(device_->metrics().deflated.value(), kPage);
}

TEST_F(BalloonTest, ReportedPagesGoToTheHost) {
  Start();
  Mark(kFree);
  Mark(kFree + (2 << 20));
  Mark(kFree + (4 << 20));

  const uint16_t head = driver_.Chain(kReporting)
                            .WritableAt(kFree, 2 << 20)
                            .WritableAt(kFree + (4 << 20), 2 << 20)
                            .Submit();
  driver_.Kick(kReporting);

  EXPECT_EQ(driver_.PopUsed(kReporting), (FakeUsed{head, 0}));
  EXPECT_FALSE(IsMarked(kFree));
  EXPECT_TRUE(IsMarked(kFree + (2 << 20)));
  EXPECT_FALSE(IsMarked(kFree + (4 << 20)));
  EXPECT_EQ(device_->metrics().reported.value(), 4 << 20);
}

// Linux numbers the queues without gaps.
TEST_F(BalloonTest, ReportingMovesUpWhereTheDriverWantsNoStatistics) {
  Start(balloon::kFeaturePageReporting);
  Mark(kFree);

  driver_.Chain(kStats).WritableAt(kFree, 2 << 20).Submit();
  driver_.Kick(kStats);

  EXPECT_FALSE(IsMarked(kFree));
}

TEST_F(BalloonTest, StatisticsAreAskedForEveryInterval) {
  Start();
  const balloon::Stat first{balloon::kStatFreeMemory, 5 << 20};
  const uint16_t head = driver_.Chain(kStats).Readable(BytesOf(first)).Submit();
  driver_.Kick(kStats);
  EXPECT_EQ(device_->metrics().guest_free.value(), 5 << 20);
  EXPECT_FALSE(driver_.PopUsed(kStats));  // The buffer stays here for the interval.

  std::this_thread::sleep_for(milliseconds(25));
  RunReady(loop_.get());
  RunReady(loop_.get());
  EXPECT_EQ(driver_.PopUsed(kStats), (FakeUsed{head, 0}));
  const balloon::Stat second{balloon::kStatAvailableMemory, 7 << 20};
  driver_.Chain(kStats).Readable(BytesOf(second)).Submit();
  driver_.Kick(kStats);

  EXPECT_EQ(device_->metrics().guest_available.value(), 7 << 20);
  EXPECT_EQ(device_->metrics().stats.value(), 2);
}

TEST_F(BalloonTest, StatisticsOfAPausedMachineAreAskedForAfterwards) {
  Start();
  driver_.Chain(kStats).Readable(Bytes(10)).Submit();
  driver_.Kick(kStats);
  transport_->Pause();

  loop_->After(milliseconds(50), [this] { loop_->Stop(); });
  ASSERT_TRUE(loop_->Run());

  EXPECT_FALSE(driver_.PopUsed(kStats));
  transport_->Resume();
  loop_->After(milliseconds(50), [this] { loop_->Stop(); });
  ASSERT_TRUE(loop_->Run());
  EXPECT_TRUE(driver_.PopUsed(kStats));
}

TEST_F(BalloonTest, WithoutAnIntervalThereAreNoStatistics) {
  Make({}, MmioState{}, milliseconds(0));
  Start();
  EXPECT_EQ(driver_.offered_features() & balloon::kFeatureStatsQueue, 0);
}

// Malformed and greedy requests.

TEST_F(BalloonTest, PagesThatAreNoMemoryAreRefusedAndOthersTaken) {
  Start();
  Mark(kFree);

  Inflate({UINT32_MAX, Number(GuestMemory::kHoleStart), Number(kMemory), Number(kFree)});

  EXPECT_TRUE(driver_.PopUsed(kInflate));
  EXPECT_FALSE(IsMarked(kFree));
  EXPECT_EQ(device_->metrics().refused.value(), 3);
  EXPECT_FALSE(NeedsReset());
}

TEST_F(BalloonTest, PartOfAPageNumberIsIgnored) {
  Start();
  driver_.Chain(kInflate).Readable({1, 2, 3}).Submit();
  driver_.Chain(kInflate).Writable(8).Submit();
  driver_.Kick(kInflate);

  EXPECT_TRUE(driver_.PopUsed(kInflate));
  EXPECT_TRUE(driver_.PopUsed(kInflate));
  EXPECT_EQ(device_->metrics().inflated.value(), 0);
}

TEST_F(BalloonTest, PartsOfPagesThatAreReportedStay) {
  Start();
  Mark(kFree);
  Mark(kFree + kPage);
  Mark(kFree + 2 * kPage);

  driver_.Chain(kReporting).WritableAt(kFree + 8, 2 * kPage).Submit();
  driver_.Kick(kReporting);

  EXPECT_TRUE(IsMarked(kFree));
  EXPECT_FALSE(IsMarked(kFree + kPage));
  EXPECT_TRUE(IsMarked(kFree + 2 * kPage));
}

TEST_F(BalloonTest, ReportOutsideMemoryBreaksTheQueue) {
  Start();
  driver_.Chain(kReporting).WritableAt(kMemory, 2 << 20).Submit();
  driver_.Kick(kReporting);
  EXPECT_TRUE(NeedsReset());
}

// A chain as large as the guest would stop the event loop for all of it.
TEST_F(BalloonTest, ReportOfManyTurnsIsDoneInTurns) {
  Start();
  Mark(kFree);
  Mark(kFree + (700ULL << 20));
  driver_.Chain(kReporting).WritableAt(kFree, 768U << 20).Submit();

  driver_.Kick(kReporting);
  EXPECT_EQ(device_->metrics().reported.value(), BalloonDevice::kMaxTurnBytes);
  EXPECT_FALSE(driver_.PopUsed(kReporting));
  for (int turn = 0; turn < 3; ++turn) RunReady(loop_.get());

  EXPECT_TRUE(driver_.PopUsed(kReporting));
  EXPECT_EQ(device_->metrics().reported.value(), 768ULL << 20);
  EXPECT_FALSE(IsMarked(kFree));
  EXPECT_FALSE(IsMarked(kFree + (700ULL << 20)));
}

TEST_F(BalloonTest, ScatteredPagesOfManyTurnsAreDoneInTurns) {
  Start();
  std::vector<uint32_t> numbers(6000);
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = static_cast<uint32_t>(Number(kFree) + 2 * i);
  }

  Inflate(numbers);
  EXPECT_EQ(device_->metrics().inflated.value(), BalloonDevice::kMaxTurnPieces * kPage);
  EXPECT_FALSE(driver_.PopUsed(kInflate));
  for (int turn = 0; turn < 3; ++turn) RunReady(loop_.get());

  EXPECT_TRUE(driver_.PopUsed(kInflate));
  EXPECT_EQ(device_->metrics().inflated.value(), 6000 * kPage);
}

TEST_F(BalloonTest, UnknownStatisticsAndTooManyAreIgnored) {
  Start();
  std::vector<balloon::Stat> stats(1000, balloon::Stat{77, 1});
  stats.push_back({balloon::kStatTotalMemory, 1});
  Bytes bytes(stats.size() * sizeof(balloon::Stat));
  std::memcpy(bytes.data(), stats.data(), bytes.size());

  driver_.Chain(kStats).Readable(bytes).Submit();
  driver_.Kick(kStats);

  EXPECT_EQ(device_->metrics().stats.value(), 1);
  EXPECT_EQ(device_->metrics().guest_total.value(), 0);
}

TEST_F(BalloonTest, StormOfKicksReadsABufferOnce) {
  Start();
  driver_.Chain(kStats).Readable(BytesOf(balloon::Stat{balloon::kStatFreeMemory, 1})).Submit();
  for (int i = 0; i < 100; ++i) driver_.Kick(kStats);
  EXPECT_EQ(device_->metrics().stats.value(), 1);
}

// Failure: a driver that is reset.

TEST_F(BalloonTest, ResetForgetsTheBalloonAndItsTimer) {
  Start();
  driver_.WriteConfig(4, Bytes{0x10, 0, 0, 0});

  driver_.Reset();
  std::this_thread::sleep_for(milliseconds(25));
  RunReady(loop_.get());

  EXPECT_EQ(device_->Save().actual_pages, 0);
  Start();
  Mark(kFree);
  Inflate({Number(kFree)});
  EXPECT_FALSE(IsMarked(kFree));
}

// State.

TEST_F(BalloonTest, StateAndAHalfDoneChainSurviveARestore) {
  const BalloonState state{7, 0, true};
  Make(state, MmioState{}, milliseconds(20));
  Start();
  driver_.WriteConfig(4, Bytes{5, 0, 0, 0});
  driver_.Chain(kReporting).WritableAt(kFree, 512U << 20).Submit();
  driver_.Kick(kReporting);
  const BalloonState saved = device_->Save();
  const MmioState transport_state = transport_->Save();
  EXPECT_EQ(saved, (BalloonState{7, 5, true}));
  Mark(kFree);

  transport_.reset();
  Make(saved, transport_state, milliseconds(20));
  driver_.Kick(kReporting);
  for (int turn = 0; turn < 3; ++turn) RunReady(loop_.get());

  EXPECT_TRUE(driver_.PopUsed(kReporting));
  EXPECT_FALSE(IsMarked(kFree));
  EXPECT_EQ(driver_.ReadConfig<uint64_t>(0), 5ULL << 32 | 7);
}

TEST_F(BalloonTest, TargetBeyondTheMemoryIsACorruptState) {
  const auto device =
      BalloonDevice::Create({"balloon", memory_.get(), loop_.get(), milliseconds(0), nullptr},
                            BalloonState{static_cast<uint32_t>(kMemory / kPage) + 1, 0, false});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code(), ErrorCode::kCorrupt);
  EXPECT_NE(device.error().message().find("target_pages"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
