#include "tests/integration/machine_fixture.h"

namespace mayfly {
namespace {

class BlkMachineTest : public MachineFixture {
 protected:
  MachineConfig ConfigWithDisk(const std::string& guest, const std::string& command_line,
                               bool read_only) {
    std::string disk;
    for (char sector = 0; sector < 8; ++sector) disk += std::string(512, sector);
    WriteFile("disk.img", disk);
    MachineConfig config = ConfigFor(guest, command_line);
    config.disks.push_back({PathFor("disk.img"), read_only, UniqueFd()});
    config.rng = true;
    return config;
  }
};

// Cases 26, 27, 30.
TEST_F(BlkMachineTest, GuestReadsWritesFlushesAndIsRefusedWhatItMustNot) {
  EXPECT_EQ(Run(ConfigWithDisk("blk", "write", false)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
  EXPECT_EQ(ReadBack("disk.img").substr(2 * 512, 512), std::string(512, '\xab'));
}

// Case 30.
TEST_F(BlkMachineTest, ReadOnlyDiskStaysAsItWas) {
  EXPECT_EQ(Run(ConfigWithDisk("blk", "read-only", true)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
  EXPECT_EQ(ReadBack("disk.img").substr(2 * 512, 512), std::string(512, '\x02'));
}

TEST_F(BlkMachineTest, DiskInUseIsRefused) {
  Start(ConfigWithDisk("basic", "loop", false));
  MachineConfig second = ConfigFor("basic", "hello");
  second.disks.push_back({PathFor("disk.img"), false, UniqueFd()});
  const auto machine = MachineBuilder(std::move(second), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_NE(machine.error().message().find("disk.img"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
