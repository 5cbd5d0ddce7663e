#include <cstdio>

#include "tests/guest/guest_fixture.h"

namespace mayfly {
namespace {

class LinuxMachineTest : public GuestFixture {
 protected:
  // What the guest says of its processors and its memory in MiB.
  struct Size {
    int cpus = 0;
    int memory_mib = 0;
  };

  Size SizeOf(const std::string& kernel, std::vector<std::string> options) {
    const ProgramResult result =
        RunMachine(kernel, "echo cpus $(nproc)\ngrep MemTotal /proc/meminfo", std::move(options));
    EXPECT_EQ(result.status, 0) << result.err << result.out;
    Size size;
    long kib = 0;
    const size_t cpus = result.out.find("cpus ");
    const size_t memory = result.out.find("MemTotal:");
    if (cpus == std::string::npos || memory == std::string::npos) return size;
    std::sscanf(result.out.c_str() + cpus, "cpus %d", &size.cpus);       // NOLINT
    std::sscanf(result.out.c_str() + memory, "MemTotal: %ld kB", &kib);  // NOLINT
    size.memory_mib = static_cast<int>(kib / 1024);
    return size;
  }
};

TEST_F(LinuxMachineTest, VmlinuxOn1VcpuAnd128Mebibytes) {
  const Size size = SizeOf(MinimalKernel() + "/vmlinux", {"--memory", "128M"});
  EXPECT_EQ(size.cpus, 1);
  EXPECT_GT(size.memory_mib, 100);
}

TEST_F(LinuxMachineTest, BzImageOn2VcpusAnd1Gibibyte) {
  const Size size = SizeOf(MinimalKernel() + "/bzImage", {"--memory", "1G", "--vcpus", "2"});
  EXPECT_EQ(size.cpus, 2);
  EXPECT_GT(size.memory_mib, 970);
}

TEST_F(LinuxMachineTest, VmlinuxOn4VcpusAnd5Gibibytes) {
  const Size size = SizeOf(MinimalKernel() + "/vmlinux", {"--memory", "5G", "--vcpus", "4"});
  EXPECT_EQ(size.cpus, 4);
  EXPECT_GT(size.memory_mib, 4900);
}

TEST_F(LinuxMachineTest, DebiansKernelBoots) {
  const Size size = SizeOf(DebianKernel() + "/vmlinuz", {"--memory", "256M", "--vcpus", "2"});
  EXPECT_EQ(size.cpus, 2);
  EXPECT_GT(size.memory_mib, 180);
}

TEST_F(LinuxMachineTest, RebootEndsWithItsOwnExitCode) {
  const ProgramResult result = RunMachine(MinimalKernel() + "/vmlinux", "reboot -f");
  EXPECT_EQ(result.status, 10) << result.err;
  EXPECT_NE(result.err.find("reset"), std::string::npos);
}

TEST_F(LinuxMachineTest, KernelPanicEndsTheMachine) {
  const ProgramResult result =
      RunMachine(MinimalKernel() + "/vmlinux", "echo c >/proc/sysrq-trigger; exit 1");
  EXPECT_EQ(result.status, 10) << result.err;
  EXPECT_NE(result.out.find("Kernel panic"), std::string::npos);
}

TEST_F(LinuxMachineTest, DisksAreReadAndWritten) {
  const ProgramResult made = RunProgram({"truncate", "-s", "1M", PathFor("disk")});
  ASSERT_EQ(made.status, 0);
  const ProgramResult result =
      RunMachine(MinimalKernel() + "/vmlinux",
                 "mount -t devtmpfs dev /dev\n"
                 "echo written by the guest >/dev/vda && sync && echo capacity $(cat "
                 "/proc/partitions | grep vda)\n",
                 {"--disk", PathFor("disk")});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("1024 vda"), std::string::npos) << result.out;
  EXPECT_EQ(RunProgram({"head", "-c", "20", PathFor("disk")}).out, "written by the guest");
}

}  // namespace
}  // namespace mayfly
