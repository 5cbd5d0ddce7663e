#include "devices/virtio/mmio_state.h"

#include "tests/unit/devices/virtio/mmio_transport_fixture.h"

// What Save() gives, and what Create() takes of it: round trips, and one bad field at a time.
namespace mayfly {
namespace {

using MmioStateTest = MmioTransportFixture;

TEST_F(MmioStateTest, StateOfALiveDeviceRoundTrips) {
  const MmioState state = LiveState();
  EXPECT_EQ(state.queues[0].next_avail, 1);
  EXPECT_EQ(state.queues[0].next_used, 1);
  EXPECT_EQ(state.interrupt_status, mmio::kInterruptUsedBuffer);

  transport_.reset();
  transport_ = *Make(KickMode::kInline, state);

  EXPECT_EQ(transport_->Save(), state);
  EXPECT_EQ(device_->activations, 1);
}

TEST_F(MmioStateTest, RestoredDeviceServesTheNextRequest) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  const MmioState state = transport_->Save();
  const uint16_t head = driver.Chain().Writable(1).Submit();
  transport_.reset();

  transport_ = *Make(KickMode::kInline, state);
  device_->queues[0].Complete(*device_->queues[0].Pop(), 1);

  EXPECT_EQ(driver.PopUsed(), (FakeUsed{head, 1}));
}

TEST_F(MmioStateTest, StateHalfWayThroughInitialisationRoundTrips) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(kFeatureEventIndex);
  driver.SetUpQueue(1, VirtqueueState{8, 0x1000, 0x2000, 0x3000});
  const MmioState state = transport_->Save();

  transport_.reset();
  transport_ = *Make(KickMode::kInline, state);

  EXPECT_EQ(transport_->Save(), state);
  EXPECT_EQ(device_->activations, 0);
  MakeDriver().DriverOk();
  EXPECT_EQ(device_->activations, 1);
}

TEST_F(MmioStateTest, BrokenDeviceStaysBrokenAfterRestore) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  device_->queues[0].Break();
  const MmioState state = transport_->Save();

  transport_.reset();
  transport_ = *Make(KickMode::kInline, state);

  EXPECT_EQ(MakeDriver().status(), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(device_->activations, 0);
  MakeDriver().Start();
  EXPECT_EQ(MakeDriver().status(), kLive);
}

TEST_F(MmioStateTest, KickThatWasPendingIsProcessedAfterRestore) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  driver.Kick(1);
  const MmioState state = transport_->Save();

  transport_.reset();
  transport_ = *Make(KickMode::kLoop, state);
  RunReady(loop_.get());

  EXPECT_EQ(device_->processed, std::vector<uint16_t>{1});
}

TEST_F(MmioStateTest, ErrorNamesTheDeviceAndTheField) {
  MmioState state = LiveState();
  state.device_id = 2;

  EXPECT_EQ(Refusal(state), "fake0: device_id is 2, expected 42");
}

TEST_F(MmioStateTest, ImpossibleStatusIsRefused) {
  MmioState state = LiveState();
  state.status = 7;
  EXPECT_NE(Refusal(state), "");
  state.status = kLive | 0x100;
  EXPECT_NE(Refusal(state), "");
  state.status = 3 | mmio::kStatusNeedsReset;
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, FeaturesThatAreNotOfferedAreRefusedInAState) {
  MmioState state = LiveState();
  state.driver_features |= 0b010;
  EXPECT_EQ(Refusal(state), "fake0: driver_features are 0x100000002, offered are 0x120000005");
}

TEST_F(MmioStateTest, StateWithoutVersion1IsRefused) {
  MmioState state = LiveState();
  state.driver_features = 0;
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, UnknownInterruptsArePartOfNoState) {
  MmioState state = LiveState();
  state.interrupt_status = 4;
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, PendingKickOfAQueueThatIsNotThereIsRefused) {
  MmioState state = LiveState();
  state.pending_kicks = 4;
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, OtherNumberOfQueuesIsRefused) {
  MmioState state = LiveState();
  state.queues.pop_back();
  EXPECT_EQ(Refusal(state), "fake0: 1 queues, expected 2");
  state.queues.resize(1000);
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, BadQueueInAStateIsRefused) {
  const MmioState good = LiveState();
  MmioState state = good;
  state.queues[1].size = 0x10008;
  EXPECT_EQ(Refusal(state), "fake0: queue 1: virtqueue: impossible size 65544");
  state = good;
  state.queues[1].size = 16;
  EXPECT_NE(Refusal(state), "");
  state = good;
  state.queues[0].descriptor_table = kMemorySize;
  EXPECT_NE(Refusal(state), "");
  state = good;
  state.queues[0].avail_ring |= 1;
  EXPECT_NE(Refusal(state), "");
  state = good;
  state.queues[0].used_ring = UINT64_MAX - 3;
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, ReadyQueueBeforeFeaturesOkIsRefused) {
  MmioState state = LiveState();
  state.status = 3;
  EXPECT_NE(Refusal(state), "");
}

TEST_F(MmioStateTest, AnyRingPositionInAStateIsHarmless) {
  MmioState state = LiveState();
  state.queues[0].next_avail = 0x8000;
  state.queues[0].next_used = 0x9000;
  state.queues[0].signalled_used = 0x1234;
  transport_.reset();
  transport_ = *Make(KickMode::kInline, state);

  EXPECT_FALSE(device_->queues[0].Pop());

  EXPECT_EQ(MakeDriver().status(), kLive | mmio::kStatusNeedsReset);
}

TEST_F(MmioStateTest, VisitNamesEveryField) {
  std::vector<std::string> names;
  MmioState::Visit([&](const char* name, auto) { names.emplace_back(name); });
  MmioQueueState::Visit([&](const char* name, auto) { names.emplace_back(name); });
  EXPECT_EQ(names.size(), 19);
}

}  // namespace
}  // namespace mayfly
