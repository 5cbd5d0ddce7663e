#include "tests/unit/devices/virtio/mmio_transport_fixture.h"

namespace mayfly {
namespace {

using MmioConfigTest = MmioTransportFixture;

// Case 20.
TEST_F(MmioConfigTest, ConfigSpaceTakesAccessesOfAnySize) {
  EXPECT_EQ(Read(mmio::kConfig + 1, 1), Bytes{0x22});
  EXPECT_EQ(Read(mmio::kConfig + 3, 2), (Bytes{0x44, 0x55}));
  EXPECT_EQ(Read(mmio::kConfig, 8), (Bytes{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}));
}

TEST_F(MmioConfigTest, ConfigSpaceReadsZeroBeyondItsEnd) {
  EXPECT_EQ(Read(mmio::kConfig + 6, 4), (Bytes{0x77, 0x88, 0, 0}));
  EXPECT_EQ(Read(MmioTransport::kSize - 8, 8), Bytes(8, 0));
}

TEST_F(MmioConfigTest, ConfigWritesReachTheDeviceOnceADriverIsThere) {
  FakeDriver driver = MakeDriver();
  driver.WriteConfig(0, Bytes{1});
  EXPECT_TRUE(device_->config_writes.empty());

  driver.Acknowledge();
  driver.WriteConfig(3, Bytes{7, 8});

  ASSERT_EQ(device_->config_writes.size(), 1);
  EXPECT_EQ(device_->config_writes[0], (std::pair<uint64_t, Bytes>{3, {7, 8}}));
}

TEST_F(MmioConfigTest, ConfigChangeIsANewGenerationAndAnInterrupt) {
  FakeDriver driver = MakeDriver();
  driver.Start();

  transport_->ConfigChanged();

  EXPECT_EQ(driver.ReadRegister(mmio::kConfigGeneration), 1);
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(driver.TakeInterrupt(), mmio::kInterruptConfigChange);
}

TEST_F(MmioConfigTest, ConfigChangeBeforeDriverOkIsSilent) {
  transport_->ConfigChanged();
  EXPECT_EQ(line_.raised, 0);
  EXPECT_EQ(MakeDriver().ReadRegister(mmio::kConfigGeneration), 1);
}

}  // namespace
}  // namespace mayfly
