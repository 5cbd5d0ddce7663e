#include "tests/guest/machine_in_process.h"

namespace mayfly {
namespace {

class GenerationTest : public MachineInProcess {};

TEST_F(GenerationTest, LinuxFindsTheDeviceAndReseedsWithANewGeneration) {
  Start(
      ConfigFor("mount -t sysfs sys /sys\n"
                "ls -1 /sys/bus/acpi/devices\n"
                "ls -1 /sys/bus/acpi/drivers/vmgenid\n"
                "echo ready\n"
                "until dmesg | grep 'virtual machine fork'; do sleep 0.1; done"));
  ASSERT_TRUE(WaitForOutput("ready")) << output();
  EXPECT_NE(output().find("MFLY0001:00\r\nbind"), std::string::npos) << output();
  EXPECT_EQ(output().find("virtual machine fork"), std::string::npos);

  machine_->SetGeneration(*GenerationId::NewGuid());

  EXPECT_TRUE(WaitForOutput("crng reseeded due to virtual machine fork")) << output();
  EXPECT_TRUE(WaitFor([&] { return machine_->end().has_value(); }));
}

}  // namespace
}  // namespace mayfly
