#include "devices/virtio/balloon/balloon.h"

#include "tests/guest/machine_in_process.h"

namespace mayfly {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class BalloonGuestTest : public MachineInProcess {
 protected:
  void StartWithBalloon(const std::string& script) {
    MachineConfig config = ConfigFor(script);
    config.balloon = BalloonConfig{0, std::chrono::milliseconds(500), true};
    Start(std::move(config));
  }
};

// That the host has the memory again is shown by the integration test of the balloon.
TEST_F(BalloonGuestTest, FreedMemoryIsReported) {
  StartWithBalloon(
      "mount -t devtmpfs dev /dev; mount -t tmpfs tmp /mnt\n"
      "dd if=/dev/zero of=/mnt/file bs=1M count=100\n"
      "echo written; sleep 3\n"
      "rm /mnt/file; echo freed; sleep 1000");
  ASSERT_TRUE(WaitForOutput("written")) << output();
  const BalloonMetrics& metrics = machine_->balloon()->metrics();
  const uint64_t reported = metrics.reported.value();
  ASSERT_TRUE(WaitForOutput("freed"));

  // Not all 100 MiB: Linux reports only whole blocks of 2 MiB or more.
  EXPECT_TRUE(WaitFor([&] { return metrics.reported.value() >= reported + 64 * kMiB; }))
      << metrics.reported.value() << " bytes reported, " << reported
      << " before; free: " << metrics.guest_free.value() << "\n"
      << output();
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
