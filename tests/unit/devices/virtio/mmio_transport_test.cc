#include "devices/virtio/mmio_transport.h"

#include "tests/unit/devices/virtio/mmio_transport_fixture.h"

namespace mayfly {
namespace {

using MmioTransportTest = MmioTransportFixture;

// Registers.

TEST_F(MmioTransportTest, IdentifiesItself) {
  const FakeDriver driver = MakeDriver();

  EXPECT_EQ(driver.ReadRegister(mmio::kMagicValue), 0x74726976);
  EXPECT_EQ(driver.ReadRegister(mmio::kVersion), 2);
  EXPECT_EQ(driver.ReadRegister(mmio::kDeviceId), FakeVirtioDevice::kType);
}

TEST_F(MmioTransportTest, OffersTheDevicesFeaturesAndItsOwn) {
  FakeDriver driver = MakeDriver();
  EXPECT_EQ(driver.offered_features(),
            FakeVirtioDevice::kFeatures | kFeatureVersion1 | kFeatureEventIndex);
}

TEST_F(MmioTransportTest, FeatureWordsBeyondTheSecondAreZeroAndIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.WriteRegister(mmio::kDeviceFeaturesSel, 2);
  driver.WriteRegister(mmio::kDriverFeaturesSel, 0xffff'ffff);

  driver.WriteRegister(mmio::kDriverFeatures, 0xffff'ffff);

  EXPECT_EQ(driver.ReadRegister(mmio::kDeviceFeatures), 0);
  EXPECT_EQ(transport_->Save().driver_features, 0);
}

TEST_F(MmioTransportTest, SharedMemoryRegionsDoNotExist) {
  const FakeDriver driver = MakeDriver();
  EXPECT_EQ(driver.ReadRegister(mmio::kShmLenLow), 0xffff'ffff);
  EXPECT_EQ(driver.ReadRegister(mmio::kShmLenHigh), 0xffff'ffff);
}

// Case 14.
TEST_F(MmioTransportTest, SelectingAQueueThatIsNotThereReadsZero) {
  FakeDriver driver = MakeDriver();
  driver.WriteRegister(mmio::kQueueSel, 1);
  EXPECT_EQ(driver.ReadRegister(mmio::kQueueSizeMax), 8);
  driver.WriteRegister(mmio::kQueueSel, 2);
  EXPECT_EQ(driver.ReadRegister(mmio::kQueueSizeMax), 0);
  driver.WriteRegister(mmio::kQueueSel, 0xffff'ffff);
  EXPECT_EQ(driver.ReadRegister(mmio::kQueueSizeMax), 0);
}

TEST_F(MmioTransportTest, WritesToAQueueThatIsNotThereAreIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);
  const std::vector<MmioQueueState> before = transport_->Save().queues;

  driver.SetUpQueue(2, VirtqueueState{16, 0x1000, 0x2000, 0x3000});
  driver.SetUpQueue(0xffff'ffff, VirtqueueState{16, 0x1000, 0x2000, 0x3000});

  EXPECT_EQ(transport_->Save().queues, before);
  EXPECT_EQ(driver.ReadRegister(mmio::kQueueReady), 0);
}

// Case 21.
TEST_F(MmioTransportTest, ControlRegistersReadZeroUnlessReadByAlignedWords) {
  EXPECT_EQ(Read(mmio::kMagicValue, 1), Bytes(1, 0));
  EXPECT_EQ(Read(mmio::kMagicValue, 2), Bytes(2, 0));
  EXPECT_EQ(Read(mmio::kMagicValue, 8), Bytes(8, 0));
  EXPECT_EQ(Read(mmio::kMagicValue + 2, 4), Bytes(4, 0));
  EXPECT_EQ(Read(mmio::kConfigGeneration + 2, 4), Bytes(4, 0));
}

TEST_F(MmioTransportTest, ControlRegistersIgnoreWritesThatAreNotAlignedWords) {
  transport_->Write(mmio::kStatus, Bytes{1});
  transport_->Write(mmio::kStatus, Bytes{1, 0});
  transport_->Write(mmio::kStatus, Bytes{1, 0, 0, 0, 0, 0, 0, 0});
  transport_->Write(mmio::kStatus - 2, Bytes{0, 0, 1, 0});

  EXPECT_EQ(MakeDriver().status(), 0);
}

TEST_F(MmioTransportTest, ReadOnlyAndUnknownRegistersIgnoreWrites) {
  FakeDriver driver = MakeDriver();
  const MmioState before = transport_->Save();

  driver.WriteRegister(mmio::kMagicValue, 0);
  driver.WriteRegister(mmio::kInterruptStatus, 3);
  driver.WriteRegister(0x00fc, 9);
  driver.WriteRegister(0x0054, 9);

  EXPECT_EQ(transport_->Save(), before);
  EXPECT_EQ(driver.ReadRegister(0x0054), 0);
}

// Status machine (case 22).

TEST_F(MmioTransportTest, StartActivatesTheDeviceWithTheDriversQueues) {
  FakeDriver driver = MakeDriver();

  driver.Start(0b100 | kFeatureEventIndex);

  EXPECT_EQ(driver.status(), kLive);
  ASSERT_EQ(device_->activations, 1);
  EXPECT_EQ(device_->driver_features, 0b100 | kFeatureVersion1 | kFeatureEventIndex);
  ASSERT_EQ(device_->queues.size(), 2);
  EXPECT_EQ(device_->queues[0].Save(), driver.queue(0).state());
  EXPECT_EQ(device_->queues[1].Save(), driver.queue(1).state());
}

TEST_F(MmioTransportTest, QueueThatIsNotReadyIsUnused) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);

  driver.DriverOk();

  EXPECT_EQ(driver.status(), kLive);
  EXPECT_EQ(device_->queues.at(0).Save(), VirtqueueState{});
}

TEST_F(MmioTransportTest, DriverOkWithoutFeaturesOkIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();

  driver.WriteRegister(mmio::kStatus, 7);

  EXPECT_EQ(driver.status(), 3);
  EXPECT_EQ(device_->activations, 0);
}

TEST_F(MmioTransportTest, StepsThatAreLeftOutAreIgnored) {
  FakeDriver driver = MakeDriver();
  driver.WriteRegister(mmio::kStatus, mmio::kStatusDriver);
  EXPECT_EQ(driver.status(), 0);
  driver.WriteRegister(mmio::kStatus, kLive);
  EXPECT_EQ(driver.status(), 0);
}

TEST_F(MmioTransportTest, ClearingABitIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  driver.WriteRegister(mmio::kStatus, kNegotiated);
  driver.WriteRegister(mmio::kStatus, mmio::kStatusAcknowledge);

  EXPECT_EQ(driver.status(), kLive);
}

TEST_F(MmioTransportTest, ReservedAndDeviceBitsAreIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();

  driver.WriteRegister(mmio::kStatus, 3 | 16);
  driver.WriteRegister(mmio::kStatus, 3 | mmio::kStatusNeedsReset);
  driver.WriteRegister(mmio::kStatus, 3 | 0x100);

  EXPECT_EQ(driver.status(), 3);
}

TEST_F(MmioTransportTest, FeatureThatIsNotOfferedIsRefused) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.WriteRegister(mmio::kDriverFeaturesSel, 1);
  driver.WriteRegister(mmio::kDriverFeatures, 1);
  driver.WriteRegister(mmio::kDriverFeaturesSel, 0);
  driver.WriteRegister(mmio::kDriverFeatures, 0b010);

  driver.WriteRegister(mmio::kStatus, kNegotiated);

  EXPECT_EQ(driver.status(), 3);
}

TEST_F(MmioTransportTest, DriverWithoutVersion1IsRefused) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.WriteRegister(mmio::kDriverFeaturesSel, 0);
  driver.WriteRegister(mmio::kDriverFeatures, 0b100);

  driver.WriteRegister(mmio::kStatus, kNegotiated);

  EXPECT_EQ(driver.status(), 3);
}

TEST_F(MmioTransportTest, FeaturesAreFrozenByFeaturesOk) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);

  driver.WriteRegister(mmio::kDriverFeaturesSel, 0);
  driver.WriteRegister(mmio::kDriverFeatures, 0xffff'ffff);

  EXPECT_EQ(transport_->Save().driver_features, kFeatureVersion1);
}

// Case 23.
TEST_F(MmioTransportTest, AfterFailedOnlyAResetIsTaken) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  driver.WriteRegister(mmio::kStatus, kLive | mmio::kStatusFailed);
  const MmioState before = transport_->Save();

  driver.WriteRegister(mmio::kStatus, kLive);
  driver.WriteRegister(mmio::kQueueSel, 1);
  driver.WriteRegister(mmio::kQueueReady, 0);
  driver.WriteConfig(0, Bytes{1});
  driver.Kick(0);

  EXPECT_EQ(transport_->Save(), before);
  EXPECT_TRUE(device_->config_writes.empty());
  EXPECT_TRUE(device_->processed.empty());
  driver.Start();
  EXPECT_EQ(driver.status(), kLive);
}

// Queue set-up.

// Case 11: everything that is written counts, high bits too.
TEST_F(MmioTransportTest, ImpossibleQueueSizesEndInNeedsReset) {
  FakeDriver driver = MakeDriver();
  const auto status_with_size = [&](uint32_t size) {
    driver.Acknowledge();
    driver.Negotiate(0);
    driver.WriteRegister(mmio::kQueueSel, 0);
    driver.WriteRegister(mmio::kQueueSize, size);
    driver.WriteRegister(mmio::kQueueReady, 1);
    driver.DriverOk();
    return driver.status();
  };

  EXPECT_EQ(status_with_size(0), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(status_with_size(3), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(status_with_size(32), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(status_with_size(65535), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(status_with_size(0x10010), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(device_->activations, 0);
  EXPECT_EQ(status_with_size(16), kLive);
}

TEST_F(MmioTransportTest, FailedActivationRaisesAConfigInterrupt) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);
  driver.SetUpQueue(0, VirtqueueState{3, 0x1000, 0x2000, 0x3000});

  driver.DriverOk();

  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(driver.TakeInterrupt(), mmio::kInterruptConfigChange);
  driver.Start();
  EXPECT_EQ(driver.status(), kLive);
}

// Case 12.
TEST_F(MmioTransportTest, RingsOutsideMemoryEndInNeedsReset) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);
  driver.SetUpQueue(1, VirtqueueState{8, 0x1000, 0x2000, uint64_t{1} << 40});

  driver.DriverOk();

  EXPECT_EQ(driver.status(), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(device_->activations, 0);
}

// Case 13.
TEST_F(MmioTransportTest, QueueRegistersAreFrozenByDriverOk) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  const MmioState before = transport_->Save();

  driver.WriteRegister(mmio::kQueueSel, before.queue_sel);
  driver.WriteRegister(mmio::kQueueReady, 0);
  driver.WriteRegister(mmio::kQueueSize, 0);
  driver.WriteRegister(mmio::kQueueDescLow, 0x7000);
  driver.WriteRegister(mmio::kQueueDeviceHigh, 0x7000);
  driver.WriteRegister(mmio::kQueueReady, 1);

  EXPECT_EQ(transport_->Save(), before);
  EXPECT_EQ(device_->queues[0].Save(), driver.queue(0).state());
}

TEST_F(MmioTransportTest, QueueRegistersAreFrozenByQueueReady) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);
  driver.SetUpQueue(0, VirtqueueState{16, 0x1000, 0x2000, 0x3000});
  driver.WriteRegister(mmio::kQueueSize, 8);
  driver.WriteRegister(mmio::kQueueDriverLow, 0x5000);
  EXPECT_EQ(transport_->Save().queues[0].size, 16);
  EXPECT_EQ(transport_->Save().queues[0].avail_ring, 0x2000);

  driver.WriteRegister(mmio::kQueueReady, 0);
  driver.WriteRegister(mmio::kQueueSize, 8);

  EXPECT_EQ(transport_->Save().queues[0].size, 8);
}

TEST_F(MmioTransportTest, QueueRegistersAreIgnoredBeforeFeaturesOk) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();

  driver.SetUpQueue(0, VirtqueueState{16, 0x1000, 0x2000, 0x3000});

  EXPECT_EQ(transport_->Save().queues[0], MmioQueueState{});
}

TEST_F(MmioTransportTest, QueueAddressesHave64Bits) {
  FakeDriver driver = MakeDriver();
  driver.Acknowledge();
  driver.Negotiate(0);

  driver.SetUpQueue(0, VirtqueueState{16, 0x1'0000'1000, 0x2'0000'2000, 0x3'0000'3000});

  const MmioQueueState queue = transport_->Save().queues[0];
  EXPECT_EQ(queue.descriptor_table, 0x1'0000'1000);
  EXPECT_EQ(queue.avail_ring, 0x2'0000'2000);
  EXPECT_EQ(queue.used_ring, 0x3'0000'3000);
}

}  // namespace
}  // namespace mayfly
