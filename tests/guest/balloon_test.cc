#include "devices/virtio/balloon/balloon.h"

#include "tests/guest/machine_in_process.h"

namespace mayfly {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kMemory = 256 * kMiB;

class BalloonGuestTest : public MachineInProcess {
 protected:
  void StartWithBalloon(const std::string& script) {
    MachineConfig config = ConfigFor(script);
    config.memory_bytes = kMemory;
    config.balloon = BalloonConfig{0, std::chrono::milliseconds(500), true};
    Start(std::move(config));
  }
};

TEST_F(BalloonGuestTest, FreedMemoryIsReportedAndComesBackToTheHost) {
  constexpr uint64_t kFile = 100 * kMiB;
  // Linux reports only whole blocks of 4 MiB unless told otherwise, and how many of those there are
  // is luck. Told to report every page, it keeps none back.
  StartWithBalloon(
      "mount -t devtmpfs dev /dev; mount -t tmpfs tmp /mnt; mount -t sysfs sys /sys\n"
      "echo 0 >/sys/module/page_reporting/parameters/page_reporting_order\n"
      "head -c 100m /dev/zero >/mnt/file\n"
      "echo written; sleep 3\n"
      "rm /mnt/file; echo freed; sleep 1000");
  const BalloonMetrics& metrics = machine_->balloon()->metrics();
  ASSERT_TRUE(WaitForOutput("written")) << output();
  EXPECT_GE(HeldGuestBytes(), kFile);
  ASSERT_TRUE(WaitForOutput("freed"));

  // Part of what is free now was the file's, and nothing of what is free is held by the host.
  EXPECT_TRUE(WaitFor([&] {
    const uint64_t free = metrics.guest_free.value();
    return free > kMemory - kFile && HeldGuestBytes() + free <= kMemory;
  })) << HeldGuestBytes()
      << " bytes held; " << metrics.guest_free.value() << " free, says the guest; "
      << metrics.reported.value() << " reported\n"
      << output();
}

TEST_F(BalloonGuestTest, BalloonGrowsAndShrinksWithItsTarget) {
  constexpr uint64_t kBalloon = 96 * kMiB;
  StartWithBalloon(
      "mount -t devtmpfs dev /dev; mount -t tmpfs -o size=100% tmp /mnt\n"
      "head -c 170m /dev/zero >/mnt/file\n"
      "echo written; sleep 1\n"
      "rm /mnt/file; echo freed; sleep 1000");
  ASSERT_TRUE(WaitForOutput("written")) << output();
  EXPECT_GT(HeldGuestBytes(), kMemory - kBalloon);
  ASSERT_TRUE(WaitForOutput("freed"));
  BalloonDevice& balloon = *machine_->balloon();
  const BalloonMetrics& metrics = balloon.metrics();

  ASSERT_TRUE(balloon.SetTarget(kBalloon));
  EXPECT_TRUE(WaitFor([&] { return metrics.actual.value() == kBalloon; }));
  EXPECT_GE(metrics.inflated.value(), kBalloon);
  EXPECT_LE(HeldGuestBytes(), kMemory - kBalloon);
  EXPECT_EQ(metrics.refused.value(), 0);
  // The guest has less, and says so.
  EXPECT_TRUE(WaitFor([&] {
    return metrics.guest_free.value() > 0 && metrics.guest_free.value() < kMemory - kBalloon;
  })) << metrics.guest_free.value();

  ASSERT_TRUE(balloon.SetTarget(0));
  EXPECT_TRUE(WaitFor([&] { return metrics.actual.value() == 0; }));
  EXPECT_EQ(metrics.deflated.value(), metrics.inflated.value());
}

}  // namespace
}  // namespace mayfly
