#include "devices/virtio/net/net.h"

#include <gtest/gtest.h>

#include "tests/unit/devices/virtio/net/net_fixture.h"

namespace mayfly {
namespace {

class NetTest : public NetFixture {};

// Registers and configuration.

TEST_F(NetTest, ConfigurationHasAddressLinkAndMtu) {
  Start(UINT64_MAX, {}, {.mac = kMac, .mtu = 9000});
  const auto config = driver_.ReadConfig<net::Config>(0);

  EXPECT_EQ(config.mac, kMac);
  EXPECT_EQ(config.status, net::kStatusLinkUp);
  EXPECT_EQ(config.mtu, 9000);
}

TEST_F(NetTest, ConfigurationReadsZeroBeyondWhatItHas) {
  EXPECT_EQ(driver_.ReadConfig(12, 8), Bytes(8, 0));
}

TEST_F(NetTest, ConfigurationIgnoresWrites) {
  driver_.WriteConfig(0, Bytes(8, 0xff));
  EXPECT_EQ(driver_.ReadConfig<net::Config>(0).mac, kMac);
}

TEST_F(NetTest, MtuIsOfferedOnlyIfThereIsOne) {
  EXPECT_EQ(driver_.offered_features() & net::kFeatureMtu, 0);
  Start(UINT64_MAX, {}, {.mac = kMac, .mtu = 1400});
  EXPECT_NE(driver_.offered_features() & net::kFeatureMtu, 0);
}

TEST_F(NetTest, DriversFeaturesBecomeTheBackendsOffloads) {
  EXPECT_EQ(backend_->offloads, (NetOffloads{true, true, true}));
  Start(net::kFeatureGuestCsum | net::kFeatureGuestTso4);
  EXPECT_EQ(backend_->offloads, (NetOffloads{true, true, false}));
}

TEST_F(NetTest, SegmentsWithoutChecksumsAreNotAskedFor) {
  Start(net::kFeatureGuestTso4 | net::kFeatureGuestTso6);
  EXPECT_EQ(backend_->offloads, NetOffloads{});
}

// Happy path.

TEST_F(NetTest, GuestsFrameReachesTheBackend) {
  EXPECT_TRUE(Send(Frame(60)));

  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join({}, Frame(60))}));
  EXPECT_EQ(driver_.TakeInterrupt(), mmio::kInterruptUsedBuffer);
  EXPECT_EQ(device_->metrics().tx_frames.value(), 1);
  EXPECT_EQ(device_->metrics().tx_bytes.value(), 60);
}

TEST_F(NetTest, AnyFramingOfASentFrameWorks) {
  const Bytes bytes = Join({}, Frame(1000));
  const auto part = [&](size_t from, size_t to) {
    return std::span(bytes).subspan(from, to - from);
  };

  EXPECT_TRUE(Send(driver_.Chain(kTransmit)
                       .Readable(part(0, 1))
                       .Readable(part(1, 11))
                       .Readable(part(11, 20))
                       .Readable(part(20, 27))
                       .Readable(part(27, bytes.size()))));

  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{bytes}));
}

TEST_F(NetTest, SegmentationHeaderOfTheGuestIsPassedOn) {
  const net::Header header{.flags = net::kFlagNeedsCsum,
                           .gso_type = net::kGsoTcp4,
                           .gso_size = 1448,
                           .csum_start = 34,
                           .csum_offset = 16};
  EXPECT_TRUE(Send(header, Frame(65550)));
  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join(header, Frame(65550))}));
}

TEST_F(NetTest, FrameFillsAReceiveBuffer) {
  GiveAndKick(2048);
  backend_->Arrive(Frame(60));

  EXPECT_EQ(Received(), Plain(Frame(60)));
  EXPECT_EQ(driver_.TakeInterrupt(), mmio::kInterruptUsedBuffer);
  EXPECT_EQ(device_->metrics().rx_frames.value(), 1);
  EXPECT_EQ(device_->metrics().rx_bytes.value(), 60);
}

TEST_F(NetTest, FrameOfSeveralDescriptorsArrives) {
  driver_.Chain(kReceive).Writable(1).Writable(20).Writable(2000).Submit();
  driver_.Kick(kReceive);
  backend_->Arrive(Frame(1500));

  EXPECT_EQ(Received(), Plain(Frame(1500)));
}

TEST_F(NetTest, LongFrameIsSpreadOverBuffers) {
  Give(1024);
  Give(1024);
  GiveAndKick(1024);
  const Bytes frame = Frame(2500);
  backend_->Arrive(frame);

  const Bytes expected = Join({.num_buffers = 3}, frame);
  EXPECT_EQ(Received(), Bytes(expected.begin(), expected.begin() + 1024));
  EXPECT_EQ(Received(), Bytes(expected.begin() + 1024, expected.begin() + 2048));
  EXPECT_EQ(Received(), Bytes(expected.begin() + 2048, expected.end()));
}

TEST_F(NetTest, LongestFrameArrivesInManySmallBuffers) {
  for (int i = 0; i < 256; ++i) Give(1000);
  driver_.Kick(kReceive);
  const net::Header header{.flags = net::kFlagNeedsCsum,
                           .gso_type = net::kGsoTcp6,
                           .gso_size = 1428,
                           .csum_start = 54,
                           .csum_offset = 16};
  backend_->Arrive(header, Frame(65550));

  Bytes received;
  for (int i = 0; i < 66; ++i) {
    const Bytes part = Received();
    received.insert(received.end(), part.begin(), part.end());
  }
  net::Header expected = header;
  expected.num_buffers = 66;
  EXPECT_TRUE(received == Join(expected, Frame(65550)));
}

TEST_F(NetTest, ThousandFramesEachGoWhereTheirBufferIs) {
  Give(60);
  for (uint32_t i = 0; i < 1000; ++i) {
    driver_.Chain(kReceive).Writable(5).Writable(40 + i % 7).Submit();
    driver_.Kick(kReceive);
    backend_->Arrive(Frame(20 + i % 13));
    ASSERT_EQ(Received(), Plain(Frame(20 + i % 13)));
  }
}

TEST_F(NetTest, DriverWithoutMergeableBuffersGetsAFrameInOne) {
  Start(UINT64_MAX & ~net::kFeatureMergeableBuffers);
  Give(4096);
  GiveAndKick(4096);
  backend_->Arrive(Frame(3000));
  backend_->Arrive(Frame(60));

  EXPECT_EQ(Received(), Plain(Frame(3000)));
  EXPECT_EQ(Received(), Plain(Frame(60)));
}

TEST_F(NetTest, ChecksumFlagsOfAFrameReachADriverThatAgreed) {
  GiveAndKick(2048);
  backend_->Arrive({.flags = net::kFlagDataValid}, Frame(60));
  EXPECT_EQ(Received(), Join({.flags = net::kFlagDataValid, .num_buffers = 1}, Frame(60)));
}

TEST_F(NetTest, DriverWithoutTheChecksumOffloadSeesNoFlags) {
  Start(0);
  GiveAndKick(2048);
  backend_->Arrive({.flags = net::kFlagDataValid}, Frame(60));
  EXPECT_EQ(Received(), Plain(Frame(60)));
}

// Waiting, and going on.

TEST_F(NetTest, FramesWaitInTheBackendForBuffers) {
  backend_->Arrive(Frame(60));
  backend_->Arrive(Frame(61));
  EXPECT_EQ(backend_->reads, 0);

  Give(2048);
  GiveAndKick(2048);

  EXPECT_EQ(Received(), Plain(Frame(60)));
  EXPECT_EQ(Received(), Plain(Frame(61)));
}

TEST_F(NetTest, FloodWithoutBuffersCostsNoReads) {
  for (int i = 0; i < 1000; ++i) backend_->Arrive(Frame(60));
  EXPECT_EQ(backend_->reads, 0);
}

TEST_F(NetTest, LongFrameWaitsHalfReadForMoreBuffers) {
  GiveAndKick(1024);
  const Bytes frame = Frame(3000);
  backend_->Arrive(frame);
  EXPECT_FALSE(driver_.PopUsed(kReceive));

  GiveAndKick(1000);
  EXPECT_FALSE(driver_.PopUsed(kReceive));
  GiveAndKick(2000);

  const Bytes expected = Join({.num_buffers = 3}, frame);
  EXPECT_EQ(Received(), Bytes(expected.begin(), expected.begin() + 1024));
  EXPECT_EQ(Received(), Bytes(expected.begin() + 1024, expected.begin() + 2024));
  EXPECT_EQ(Received(), Bytes(expected.begin() + 2024, expected.end()));
}

TEST_F(NetTest, BuffersGivenBeforeDriverOkAreUsed) {
  backend_->Arrive(Frame(60));
  driver_.Acknowledge();
  driver_.Negotiate(UINT64_MAX & ~kFeatureEventIndex);
  driver_.SetUpQueues(256);
  Give(2048);
  driver_.DriverOk();
  RunReady(loop_.get());

  EXPECT_EQ(Received(), Plain(Frame(60)));
}

TEST_F(NetTest, DriverWithEventIndexIsAskedToKickForTheNextBuffer) {
  driver_.Start(UINT64_MAX);
  RunReady(loop_.get());
  backend_->Arrive(Frame(60));
  const uint16_t before = driver_.queue(kReceive).avail_index();
  Give(2048);
  EXPECT_TRUE(driver_.queue(kReceive).WantsKick(before));
}

TEST_F(NetTest, TurnsAreBoundedBothWays) {
  for (int i = 0; i < 100; ++i) Give(256);
  for (int i = 0; i < 100; ++i) backend_->waiting.push_back(Join({}, Frame(60)));
  backend_->Announce();
  EXPECT_EQ(device_->metrics().rx_frames.value(), NetDevice::kMostTurnFrames);
  for (int i = 0; i < 100; ++i) driver_.Chain(kTransmit).Readable(Join({}, Frame(60))).Submit();
  driver_.Kick(kTransmit);
  EXPECT_EQ(device_->metrics().tx_frames.value(), NetDevice::kMostTurnFrames);

  RunReady(loop_.get());
  RunReady(loop_.get());

  EXPECT_EQ(device_->metrics().rx_frames.value(), 100);
  EXPECT_EQ(device_->metrics().tx_frames.value(), 100);
}

TEST_F(NetTest, ResetForgetsTheFrameOnItsWay) {
  GiveAndKick(1024);
  backend_->Arrive(Frame(3000));

  driver_.Start(UINT64_MAX & ~kFeatureEventIndex);
  GiveAndKick(4096);
  backend_->Arrive(Frame(60));

  EXPECT_EQ(Received(), Plain(Frame(60)));
}

// The link.

TEST_F(NetTest, LinkThatGoesDownIsAChangeOfConfiguration) {
  const uint32_t generation = driver_.ReadRegister(mmio::kConfigGeneration);
  device_->SetLink(false);

  EXPECT_EQ(driver_.ReadConfig<net::Config>(0).status, 0);
  EXPECT_NE(driver_.ReadRegister(mmio::kConfigGeneration), generation);
  EXPECT_EQ(driver_.TakeInterrupt(), mmio::kInterruptConfigChange);
  EXPECT_FALSE(backend_->carrier);
}

TEST_F(NetTest, LinkThatStaysAsItIsChangesNothing) {
  device_->SetLink(true);
  EXPECT_EQ(driver_.TakeInterrupt(), 0);
}

TEST_F(NetTest, NothingPassesWhileTheLinkIsDown) {
  device_->SetLink(false);
  GiveAndKick(2048);
  backend_->Arrive(Frame(60));

  EXPECT_TRUE(Send(Frame(60)));

  EXPECT_EQ(backend_->reads + backend_->writes, 0);
  EXPECT_EQ(device_->metrics().tx_dropped.value(), 1);
}

TEST_F(NetTest, LinkThatComesUpAgainWorks) {
  GiveAndKick(2048);
  device_->SetLink(false);
  device_->SetLink(true);
  backend_->Arrive(Frame(60));

  EXPECT_TRUE(Send(Frame(70)));

  EXPECT_EQ(Received(), Plain(Frame(60)));
  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join({}, Frame(70))}));
  EXPECT_TRUE(backend_->carrier);
}

// Rate limits.

TEST_F(NetTest, TransmissionAboveItsLimitWaits) {
  Start(UINT64_MAX,
        {.transmit_limits = {.bytes = {}, .operations = {.per_second = 20, .burst = 1}}});
  for (int i = 0; i < 3; ++i) driver_.Chain(kTransmit).Readable(Join({}, Frame(60))).Submit();
  driver_.Kick(kTransmit);
  EXPECT_EQ(backend_->sent.size(), 1);
  EXPECT_EQ(device_->metrics().tx_throttled.value(), 1);

  RunLoop(std::chrono::milliseconds(200));

  EXPECT_EQ(backend_->sent.size(), 3);
}

TEST_F(NetTest, ReceptionAboveItsLimitWaits) {
  Start(UINT64_MAX,
        {.receive_limits = {.bytes = {.per_second = 1200, .burst = 60}, .operations = {}}});
  for (int i = 0; i < 3; ++i) Give(256);
  for (int i = 0; i < 3; ++i) backend_->Arrive(Frame(60));
  EXPECT_EQ(device_->metrics().rx_frames.value(), 1);

  RunLoop(std::chrono::milliseconds(200));

  EXPECT_EQ(device_->metrics().rx_frames.value(), 3);
}

TEST_F(NetTest, FrameThatComesWhileTheMachineIsPausedWaits) {
  GiveAndKick(2048);
  transport_->Pause();
  const std::vector<VirtqueueState> paused = device_->SaveQueues();

  backend_->Arrive(Frame(100));
  RunReady(loop_.get());

  EXPECT_EQ(device_->SaveQueues(), paused);
  EXPECT_EQ(Received(), Bytes());
  transport_->Resume();
  RunReady(loop_.get());
  EXPECT_EQ(Received(), Plain(Frame(100)));
}

TEST_F(NetTest, WaitForALimitThatEndsWhileTheMachineIsPausedGoesOnAfterwards) {
  Start(UINT64_MAX,
        {.transmit_limits = {.bytes = {}, .operations = {.per_second = 50, .burst = 1}}});
  EXPECT_TRUE(Send(Frame(60)));
  EXPECT_FALSE(Send(Frame(61)));
  transport_->Pause();

  RunLoop(std::chrono::milliseconds(50));

  EXPECT_EQ(backend_->sent.size(), 1);
  transport_->Resume();
  RunReady(loop_.get());
  EXPECT_EQ(backend_->sent.size(), 2);
}

TEST_F(NetTest, DeviceThatWaitsForItsLimitCanGo) {
  Start(UINT64_MAX,
        {.transmit_limits = {.bytes = {}, .operations = {.per_second = 20, .burst = 1}}});
  EXPECT_TRUE(Send(Frame(60)));
  EXPECT_FALSE(Send(Frame(60)));
  transport_.reset();
  RunLoop(std::chrono::milliseconds(100));
}

// Backend failure.

TEST_F(NetTest, FrameThatTheBackendRefusesIsDroppedAndTheNextOneGoes) {
  backend_->fail_write = true;
  EXPECT_TRUE(Send(Frame(60)));
  backend_->fail_write = false;
  EXPECT_TRUE(Send(Frame(61)));

  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join({}, Frame(61))}));
  EXPECT_EQ(device_->metrics().tx_errors.value(), 1);
  EXPECT_FALSE(NeedsReset());
}

TEST_F(NetTest, FailedReadIsNotTriedAgainBeforeTheBackendIsReady) {
  GiveAndKick(2048);
  backend_->fail_read = true;
  backend_->Arrive(Frame(60));
  const int reads = backend_->reads;
  driver_.Kick(kReceive);
  RunReady(loop_.get());
  EXPECT_EQ(backend_->reads, reads);

  backend_->fail_read = false;
  backend_->Announce();
  EXPECT_EQ(Received(), Plain(Frame(60)));
}

TEST_F(NetTest, FrameThatTheDriverWouldNotUnderstandIsDropped) {
  Start(0);
  GiveAndKick(2048);
  backend_->Arrive({.gso_type = net::kGsoTcp4, .gso_size = 1448}, Frame(60));
  backend_->Arrive({.flags = net::kFlagNeedsCsum}, Frame(61));
  backend_->Arrive(Frame(62));

  EXPECT_EQ(Received(), Plain(Frame(62)));
  EXPECT_EQ(device_->metrics().rx_errors.value(), 2);
}

// State.

TEST_F(NetTest, StateRoundTrips) {
  Start(UINT64_MAX, {}, {.mac = kMac, .mtu = 1400});
  device_->SetLink(false);
  const NetState state = device_->Save();
  EXPECT_EQ(state, (NetState{kMac, 1400, false}));

  Start(UINT64_MAX, {}, state);

  EXPECT_EQ(device_->Save(), state);
  EXPECT_FALSE(backend_->carrier);
}

TEST_F(NetTest, RestoredDeviceUsesTheBuffersThatTheDriverHadGiven) {
  for (int i = 0; i < 4; ++i) Give(2048);
  driver_.Kick(kReceive);
  backend_->Arrive(Frame(60));
  EXPECT_EQ(Received(), Plain(Frame(60)));
  const MmioState registers = transport_->Save();
  const NetState state = device_->Save();

  Attach({}, state, registers);
  driver_.Reattach(transport_.get());
  RunReady(loop_.get());
  for (uint8_t size = 61; size < 64; ++size) backend_->Arrive(Frame(size));

  EXPECT_EQ(Received(), Plain(Frame(61)));
  EXPECT_EQ(Received(), Plain(Frame(62)));
  EXPECT_EQ(Received(), Plain(Frame(63)));
  EXPECT_TRUE(Send(Frame(60)));
  EXPECT_EQ(backend_->offloads, (NetOffloads{true, true, true}));
}

// Why this state is refused.
std::string Refusal(const NetState& state) {
  const auto loop = *EventLoop::Create();
  const auto device = NetDevice::Create(
      {.name = "net0", .backend = std::make_unique<FakeNetBackend>(), .loop = loop.get()}, state);
  return device ? "" : device.error().message();
}

TEST_F(NetTest, AddressThatIsNoStationsIsRefused) {
  EXPECT_EQ(Refusal({}), "net0: mac: 00:00:00:00:00:00 is not the address of one station");
  EXPECT_EQ(Refusal({.mac = {0x33, 0x33, 0, 0, 0, 1}}),
            "net0: mac: 33:33:00:00:00:01 is not the address of one station");
}

TEST_F(NetTest, MtuThatIsTooSmallIsRefused) {
  EXPECT_EQ(Refusal({.mac = kMac, .mtu = 67}), "net0: mtu: 67, but 68 is the least");
  EXPECT_EQ(Refusal({.mac = kMac, .mtu = 68}), "");
}

}  // namespace
}  // namespace mayfly
