#include "devices/virtio/balloon/balloon.h"

#include <fstream>

#include "tests/guest/machine_in_process.h"

namespace mayfly {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class BalloonGuestTest : public MachineInProcess {
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

  void StartWithBalloon(const std::string& script) {
    MachineConfig config = ConfigFor(script);
    config.balloon = BalloonConfig{0, std::chrono::milliseconds(500), true};
    Start(std::move(config));
  }
};

TEST_F(BalloonGuestTest, FreedMemoryIsReportedAndComesBackToTheHost) {
  StartWithBalloon(
      "mount -t devtmpfs dev /dev; mount -t tmpfs tmp /mnt\n"
      "dd if=/dev/zero of=/mnt/file bs=1M count=100\n"
      "echo written; sleep 3\n"
      "rm /mnt/file; echo freed; sleep 1000");
  ASSERT_TRUE(WaitForOutput("written")) << output();
  const BalloonMetrics& metrics = machine_->balloon()->metrics();
  const uint64_t full = ResidentBytes();
  // Three seconds later, and two before the next report: what was free from the start is reported.
  ASSERT_TRUE(WaitForOutput("freed"));
  const uint64_t reported = metrics.reported.value();

  // Not all 100 MiB: Linux reports only whole blocks of 2 MiB or more.
  EXPECT_TRUE(WaitFor([&] { return metrics.reported.value() >= reported + 64 * kMiB; }))
      << metrics.reported.value() << " bytes reported, " << reported
      << " before; free: " << metrics.guest_free.value() << "\n"
      << output();

  EXPECT_LT(ResidentBytes() + 64 * kMiB, full);
}

TEST_F(BalloonGuestTest, BalloonGrowsAndShrinksWithItsTarget) {
  StartWithBalloon("echo ready; sleep 1000");
  ASSERT_TRUE(WaitForOutput("ready")) << output();
  BalloonDevice& balloon = *machine_->balloon();
  const BalloonMetrics& metrics = balloon.metrics();

  ASSERT_TRUE(balloon.SetTarget(96 * kMiB));
  EXPECT_TRUE(WaitFor([&] { return metrics.actual.value() == 96 * kMiB; }));
  EXPECT_GE(metrics.inflated.value(), 96 * kMiB);
  EXPECT_EQ(metrics.refused.value(), 0);
  // The guest has less, and says so.
  EXPECT_TRUE(WaitFor([&] {
    return metrics.guest_free.value() > 0 && metrics.guest_free.value() < 160 * kMiB;
  })) << metrics.guest_free.value();

  ASSERT_TRUE(balloon.SetTarget(0));
  EXPECT_TRUE(WaitFor([&] { return metrics.actual.value() == 0; }));
  EXPECT_EQ(metrics.deflated.value(), metrics.inflated.value());
}

}  // namespace
}  // namespace mayfly
