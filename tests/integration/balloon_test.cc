#include "devices/virtio/balloon/balloon.h"

#include <chrono>
#include <thread>

#include "tests/integration/machine_fixture.h"
#include "tests/support/memory_use.h"

namespace mayfly {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kPages = 64 * kMiB;  // What the guest touches and gives up.
constexpr uint64_t kOther = 64 << 10;   // What it may touch meanwhile: its lists and rings.

class BalloonMachineTest : public MachineFixture {
 protected:
  void StartWithBalloon() {
    MachineConfig config = ConfigFor("balloon", "");
    config.balloon = BalloonConfig{0, std::chrono::milliseconds(10), false};
    Start(std::move(config), [&](Machine::Parts& parts) { memory_ = parts.memory.get(); });
    ASSERT_TRUE(WaitForOutput("touched"));
  }

  // Of the guest's RAM; it is all in one region.
  [[nodiscard]] uint64_t HeldGuestBytes() const {
    return HeldBytes(memory_->regions().front().host, memory_->size());
  }

 private:
  const GuestMemory* memory_ = nullptr;
};

TEST_F(BalloonMachineTest, MemoryThatTheGuestGivesUpComesBackToTheHost) {
  StartWithBalloon();
  BalloonDevice& balloon = *machine_->balloon();
  const uint64_t touched = HeldGuestBytes();

  ASSERT_TRUE(balloon.SetTarget(kPages));
  ASSERT_TRUE(WaitForOutput("inflated"));
  EXPECT_LE(HeldGuestBytes() + kPages - kOther, touched);
  EXPECT_EQ(balloon.metrics().inflated.value(), kPages);
  EXPECT_EQ(balloon.metrics().actual.value(), kPages);

  ASSERT_TRUE(balloon.SetTarget(0));
  ASSERT_TRUE(WaitForOutput("deflated"));
  EXPECT_GE(HeldGuestBytes() + kOther, touched);
  EXPECT_EQ(balloon.metrics().deflated.value(), kPages);

  ASSERT_TRUE(balloon.SetTarget(4096));
  ASSERT_TRUE(WaitForOutput("reported"));
  EXPECT_LE(HeldGuestBytes() + kPages - kOther, touched);
  EXPECT_EQ(balloon.metrics().reported.value(), kPages);

  ASSERT_TRUE(balloon.SetTarget(0));
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_NE(output().find("PASSED"), std::string::npos);
}

TEST_F(BalloonMachineTest, StatisticsOfTheGuestArrive) {
  StartWithBalloon();
  const BalloonMetrics& metrics = machine_->balloon()->metrics();
  // The guest does not wait for its second answer to be read.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (metrics.stats.value() < 2 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_GE(metrics.stats.value(), 2);
  EXPECT_EQ(metrics.guest_free.value(), 12345);
  EXPECT_EQ(metrics.guest_total.value(), 67890);
}

TEST_F(BalloonMachineTest, TargetBeyondTheMemoryIsRefusedBeforeTheStart) {
  MachineConfig config = ConfigFor("balloon", "");
  config.balloon = BalloonConfig{config.memory_bytes + kMiB, std::chrono::milliseconds(0), false};
  const auto machine = MachineBuilder(std::move(config), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().message(), "balloon: 129 MiB, but the memory has 128 MiB");
}

}  // namespace
}  // namespace mayfly
