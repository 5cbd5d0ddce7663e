#include <atomic>
#include <thread>

#include "base/thread.h"
#include "tests/unit/devices/virtio/mmio_transport_fixture.h"

namespace mayfly {
namespace {

// Case 24.
using MmioResetTest = MmioTransportFixture;

TEST_F(MmioResetTest, ResetGoesBackToTheBeginning) {
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

TEST_F(MmioResetTest, ResetBeforeActivationDoesNotReachTheDevice) {
  MakeDriver().Acknowledge();
  EXPECT_EQ(device_->resets, 0);
}

TEST_F(MmioResetTest, LoopKickBeforeAResetIsForgotten) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  driver.Kick(0);

  driver.Start();
  RunReady(loop_.get());

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioResetTest, NotifyEventBeforeAResetIsForgotten) {
  Build(KickMode::kLoop);
  FakeDriver driver = MakeDriver();
  driver.Start();
  Notify(1);

  driver.Start();
  RunReady(loop_.get());

  EXPECT_TRUE(device_->processed.empty());
}

TEST_F(MmioResetTest, ResetWaitsForARunningRequest) {
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
  Thread io("io", [this] { EXPECT_TRUE(loop_->Run()); });
  driver.Kick(0);
  while (!running) std::this_thread::yield();

  driver.Reset();

  EXPECT_TRUE(done);
  EXPECT_EQ(driver.status(), 0);
  loop_->Stop();
  io.Join();
}

TEST_F(MmioResetTest, HundredThousandResetsWithAKickPendingProcessNothing) {
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
TEST_F(MmioResetTest, ResetsKicksAndRegisterReadsMayRace) {
  Build(KickMode::kLoop);
  device_->on_process = [this](uint16_t index) {
    while (auto chain = device_->queues[index].Pop()) {
      device_->queues[index].Complete(*std::move(chain), 1);
    }
    device_->queues[index].Notify();
  };
  Thread io("io", [this] { EXPECT_TRUE(loop_->Run()); });
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
