#include "devices/virtio/mmio_transport.h"

#include <thread>

#include "base/thread.h"
#include "tests/unit/devices/virtio/mmio_transport_fixture.h"

namespace mayfly {
namespace {

using MmioTransportTest = MmioTransportFixture;

// Registers and configuration.

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

// Case 20.
TEST_F(MmioTransportTest, ConfigSpaceTakesAccessesOfAnySize) {
  EXPECT_EQ(Read(mmio::kConfig + 1, 1), Bytes{0x22});
  EXPECT_EQ(Read(mmio::kConfig + 3, 2), (Bytes{0x44, 0x55}));
  EXPECT_EQ(Read(mmio::kConfig, 8), (Bytes{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}));
}

TEST_F(MmioTransportTest, ConfigSpaceReadsZeroBeyondItsEnd) {
  EXPECT_EQ(Read(mmio::kConfig + 6, 4), (Bytes{0x77, 0x88, 0, 0}));
  EXPECT_EQ(Read(MmioTransport::kSize - 8, 8), Bytes(8, 0));
}

TEST_F(MmioTransportTest, ConfigWritesReachTheDeviceOnceADriverIsThere) {
  FakeDriver driver = MakeDriver();
  driver.WriteConfig(0, Bytes{1});
  EXPECT_TRUE(device_->config_writes.empty());

  driver.Acknowledge();
  driver.WriteConfig(3, Bytes{7, 8});

  ASSERT_EQ(device_->config_writes.size(), 1);
  EXPECT_EQ(device_->config_writes[0], (std::pair<uint64_t, Bytes>{3, {7, 8}}));
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

TEST_F(MmioTransportTest, ConfigChangeIsANewGenerationAndAnInterrupt) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  transport_->ConfigChanged();

  EXPECT_EQ(driver.ReadRegister(mmio::kConfigGeneration), 1);
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(driver.TakeInterrupt(), mmio::kInterruptConfigChange);
}

TEST_F(MmioTransportTest, ConfigChangeBeforeDriverOkIsSilent) {
  transport_->ConfigChanged();
  EXPECT_EQ(line_.raised, 0);
  EXPECT_EQ(MakeDriver().ReadRegister(mmio::kConfigGeneration), 1);
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

// Kicks and interrupts.

TEST_F(MmioTransportTest, InlineKickIsProcessedBeforeTheWriteReturns) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  driver.Kick(1);

  EXPECT_EQ(device_->processed, std::vector<uint16_t>{1});
}

TEST_F(MmioTransportTest, LoopKicksAreProcessedOnTheLoopAndCoalesced) {
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
TEST_F(MmioTransportTest, KickForAQueueThatIsNotThereIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  driver.Kick(2);
  driver.Kick(32);
  driver.Kick(0xffff'ffff);

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioTransportTest, KickBeforeDriverOkIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Kick(0);
  driver.Acknowledge();
  driver.Negotiate(0);
  driver.SetUpQueues(8);

  driver.Kick(0);

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioTransportTest, KickOfABrokenDeviceIsIgnored) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  device_->queues[0].Break();

  driver.Kick(0);
  driver.Kick(1);

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioTransportTest, LoopKickBeforeAResetIsForgotten) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  driver.Kick(0);

  driver.Start();
  RunReady(loop_.get());

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioTransportTest, NotifyEventIsAKickOfAllQueues) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();

  Notify(3);
  RunReady(loop_.get());

  EXPECT_EQ(device_->processed, (std::vector<uint16_t>{0, 1}));
  EXPECT_EQ(transport_->metrics().kicks.value(), 3);
}

TEST_F(MmioTransportTest, NotifyEventBeforeAPauseIsInTheState) {
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

TEST_F(MmioTransportTest, NotifyEventBeforeAResetIsForgotten) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  Notify(1);

  driver.Start();
  RunReady(loop_.get());

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioTransportTest, ProcessLaterRunsOnTheLoopInBothModes) {
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

TEST_F(MmioTransportTest, UsedBuffersRaiseAnInterruptUntilAcknowledged) {
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
TEST_F(MmioTransportTest, AcknowledgingUndefinedBitsChangesNothing) {
  FakeDriver driver = MakeDriver();
  driver.Start();
  transport_->ConfigChanged();

  driver.WriteRegister(mmio::kInterruptAck, 0xffff'fffc | mmio::kInterruptUsedBuffer);

  EXPECT_EQ(driver.ReadRegister(mmio::kInterruptStatus), mmio::kInterruptConfigChange);
}

TEST_F(MmioTransportTest, BrokenQueueSetsNeedsResetAndRaisesOnce) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  device_->queues[0].Break();
  device_->queues[1].Break();

  EXPECT_EQ(driver.status(), kLive | mmio::kStatusNeedsReset);
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(driver.TakeInterrupt(), mmio::kInterruptConfigChange);
}

// Reset (case 24).

TEST_F(MmioTransportTest, MetricsCountWhatTheDriverDoes) {
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

TEST_F(MmioTransportTest, ResetGoesBackToTheBeginning) {
  FakeDriver driver = MakeDriver();
  const MmioState fresh = transport_->Save();
  driver.Start();
  device_->queues[0].Break();

  driver.Reset();

  EXPECT_EQ(device_->resets, 1);
  EXPECT_EQ(transport_->Save(), fresh);
  driver.Start();
  EXPECT_EQ(driver.status(), kLive);
  EXPECT_EQ(device_->activations, 2);
}

TEST_F(MmioTransportTest, ResetBeforeActivationDoesNotReachTheDevice) {
  MakeDriver().Acknowledge();
  EXPECT_EQ(device_->resets, 0);
}

TEST_F(MmioTransportTest, ResetWaitsForARunningRequest) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  std::atomic<bool> running = false;
  std::atomic<bool> done = false;
  device_->on_process = [&](uint16_t) {
    running = true;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    done = true;
  };
  Thread io("io", [this] { (void)loop_->Run(); });
  driver.Kick(0);
  while (!running) std::this_thread::yield();

  driver.Reset();

  EXPECT_TRUE(done);
  EXPECT_EQ(driver.status(), 0);
  loop_->Stop();
  io.Join();
}

TEST_F(MmioTransportTest, HundredThousandResetsWithAKickPendingProcessNothing) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();

  for (int i = 0; i < 100'000; ++i) {
    driver.Start();
    driver.Kick(0);
    driver.Reset();
  }
  RunReady(loop_.get());

  EXPECT_EQ(device_->resets, 100'000);
  EXPECT_TRUE(device_->processed.empty());
}

// Two vCPUs and the loop at once; a sanitizer is what judges this one.
TEST_F(MmioTransportTest, ResetsKicksAndRegisterReadsMayRace) {
  Build(KickMode::kLoop);
  device_->on_process = [this](uint16_t index) {
    while (auto chain = device_->queues[index].Pop()) {
      device_->queues[index].Complete(*std::move(chain), 1);
    }
    device_->queues[index].Notify();
  };
  Thread io("io", [this] { (void)loop_->Run(); });
  std::atomic<bool> stop = false;
  Thread other_vcpu("vcpu-1", [&] {
    FakeDriver driver = MakeDriver();
    while (!stop) {
      driver.Kick(0);
      driver.Kick(1);
      driver.TakeInterrupt();
      (void)driver.ReadConfig(0, 8);
    }
  });
  FakeDriver driver = MakeDriver();
  for (int i = 0; i < 500; ++i) {
    driver.Start();
    driver.Chain().Writable(1).Submit();
    driver.Kick();
  }

  stop = true;
  other_vcpu.Join();
  loop_->Stop();
  io.Join();
  EXPECT_EQ(driver.status(), kLive);
}

}  // namespace
}  // namespace mayfly
