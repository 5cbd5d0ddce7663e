#include "tests/unit/devices/virtio/mmio_transport_fixture.h"

namespace mayfly {
namespace {

using MmioNotificationTest = MmioTransportFixture;

TEST_F(MmioNotificationTest, InlineKickIsProcessedBeforeTheWriteReturns) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  driver.Kick(1);

  EXPECT_EQ(device_->processed, std::vector<uint16_t>{1});
}

TEST_F(MmioNotificationTest, LoopKicksAreProcessedOnTheLoopAndCoalesced) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();

  driver.Kick(1);
  driver.Kick(0);
  driver.Kick(1);
  EXPECT_TRUE(device_->processed.empty());
  RunReady(loop_.get());

  EXPECT_EQ(device_->processed, (std::vector<uint16_t>{0, 1}));
  RunReady(loop_.get());
  EXPECT_EQ(device_->processed.size(), 2);
}

// Case 18.
TEST_F(MmioNotificationTest, KickForAQueueThatIsNotThereIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  driver.Kick(2);
  driver.Kick(32);
  driver.Kick(0xffff'ffff);

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioNotificationTest, KickBeforeDriverOkIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Kick(0);
  driver.Acknowledge();
  driver.Negotiate(0);
  driver.SetUpQueues(8);

  driver.Kick(0);

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioNotificationTest, KickOfABrokenDeviceIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  device_->queues[0].Break();

  driver.Kick(0);
  driver.Kick(1);

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioNotificationTest, NotifyEventIsAKickOfAllQueues) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();

  Notify(3);
  RunReady(loop_.get());

  EXPECT_EQ(device_->processed, (std::vector<uint16_t>{0, 1}));
  EXPECT_EQ(transport_->metrics().kicks.value(), 3);
}

TEST_F(MmioNotificationTest, NotifyEventBeforeAPauseIsInTheState) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  Notify(1);

  transport_->Pause();

  EXPECT_EQ(transport_->Save().pending_kicks, 0b11);
  transport_->Resume();
  RunReady(loop_.get());
  EXPECT_EQ(device_->processed, (std::vector<uint16_t>{0, 1}));
}

TEST_F(MmioNotificationTest, ProcessLaterRunsOnTheLoopInBothModes) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  device_->on_process = [this](uint16_t) {
    device_->on_process = nullptr;
    device_->queues[0].ProcessLater();
  };

  driver.Kick(0);
  EXPECT_EQ(device_->processed.size(), 1);
  RunReady(loop_.get());

  EXPECT_EQ(device_->processed, (std::vector<uint16_t>{0, 0, 1}));
}

TEST_F(MmioNotificationTest, UsedBuffersRaiseAnInterruptUntilAcknowledged) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  driver.Chain().Writable(1).Submit();

  device_->queues[0].Complete(*device_->queues[0].Pop(), 1);
  device_->queues[0].Notify();

  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(driver.ReadRegister(mmio::kInterruptStatus), mmio::kInterruptUsedBuffer);
  EXPECT_EQ(driver.TakeInterrupt(), mmio::kInterruptUsedBuffer);
  EXPECT_EQ(driver.ReadRegister(mmio::kInterruptStatus), 0);
}

// Case 19.
TEST_F(MmioNotificationTest, AcknowledgingUndefinedBitsChangesNothing) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  transport_->ConfigChanged();

  driver.WriteRegister(mmio::kInterruptAck, 0xffff'fffc | mmio::kInterruptUsedBuffer);

  EXPECT_EQ(driver.ReadRegister(mmio::kInterruptStatus), mmio::kInterruptConfigChange);
}

TEST_F(MmioNotificationTest, BrokenQueueSetsNeedsResetAndRaisesOnce) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  device_->queues[0].Break();
  device_->queues[1].Break();

  EXPECT_EQ(driver.status(), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(driver.TakeInterrupt(), mmio::kInterruptConfigChange);
}

TEST_F(MmioNotificationTest, MetricsCountWhatTheDriverDoes) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  const uint64_t resets = transport_->metrics().resets.value();
  driver.Chain().Writable(1).Submit();
  driver.Kick();
  device_->queues[0].Complete(*device_->queues[0].Pop(), 1);
  device_->queues[0].Notify();
  device_->queues[0].Break();
  driver.Reset();
  EXPECT_EQ(transport_->metrics().kicks.value(), 1U);
  EXPECT_EQ(transport_->metrics().interrupts.value(), 2U);
  EXPECT_EQ(transport_->metrics().broken.value(), 1U);
  EXPECT_EQ(transport_->metrics().resets.value(), resets + 1);
}

}  // namespace
}  // namespace mayfly
