#include <fstream>

#include "devices/virtio/balloon/balloon.h"
#include "tests/integration/machine_fixture.h"

namespace mayfly {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kPages = 64 * kMiB;  // What the guest touches and gives up.
// What the process needs for itself may change meanwhile, under sanitizers above all.
constexpr uint64_t kSlack = 8 * kMiB;

class BalloonMachineTest : public MachineFixture {
 protected:
  // Of this process, and so of its machine. Counted page by page: the sums that the kernel keeps
  // lag behind by what the threads have not added yet.
  static uint64_t ResidentBytes() {
    std::ifstream file("/proc/self/smaps_rollup");
    std::string word;
    while (file >> word && word != "Rss:") continue;
    uint64_t kibibytes = 0;
    file >> kibibytes;
    return kibibytes << 10;
  }

  void StartWithBalloon() {
    MachineConfig config = ConfigFor("balloon", "");
    config.balloon = BalloonConfig{0, std::chrono::milliseconds(10), false};
    Start(std::move(config));
    ASSERT_TRUE(WaitForOutput("touched"));
  }
};

TEST_F(BalloonMachineTest, MemoryThatTheGuestGivesUpComesBackToTheHost) {
  StartWithBalloon();
  BalloonDevice& balloon = *machine_->balloon();
  const uint64_t touched = ResidentBytes();

  ASSERT_TRUE(balloon.SetTarget(kPages));
  ASSERT_TRUE(WaitForOutput("inflated"));
  EXPECT_LT(ResidentBytes() + kPages - kSlack, touched);
  EXPECT_EQ(balloon.metrics().inflated.value(), kPages);
  EXPECT_EQ(balloon.metrics().actual.value(), kPages);

  ASSERT_TRUE(balloon.SetTarget(0));
  ASSERT_TRUE(WaitForOutput("deflated"));
  EXPECT_GT(ResidentBytes() + kSlack, touched);
  EXPECT_EQ(balloon.metrics().deflated.value(), kPages);

  ASSERT_TRUE(balloon.SetTarget(4096));
  ASSERT_TRUE(WaitForOutput("reported"));
  EXPECT_LT(ResidentBytes() + kPages - kSlack, touched);
  EXPECT_EQ(balloon.metrics().reported.value(), kPages);

  ASSERT_TRUE(balloon.SetTarget(0));
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_NE(output().find("PASSED"), std::string::npos);
}

TEST_F(BalloonMachineTest, StatisticsOfTheGuestArrive) {
  StartWithBalloon();
  const BalloonMetrics& metrics = machine_->balloon()->metrics();
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
