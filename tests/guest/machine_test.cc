#include <sys/socket.h>

#include <cstdio>
#include <future>

#include "tests/guest/guest_fixture.h"
#include "tests/guest/programs/pattern.h"
#include "tests/guest/vsock_host.h"

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

TEST_F(LinuxMachineTest, StreamsOfTheGuestReachTheHost) {
  constexpr uint64_t kMebibytes = 2;
  const UniqueFd listener = ListenOnUnixSocket(PathFor("v_1025"));
  std::future<StreamServed> peer =
      std::async(std::launch::async, [&] { return ServeStream(listener, kMebibytes); });
  AddProgram(std::string(MAYFLY_BUILD_DIR) + "/test-guests/vsock_peer");

  const ProgramResult result = RunMachine(MinimalKernel() + "/vmlinux", "vsock_peer stream 1025 2",
                                          {"--vsock", PathFor("v")});

  // Ends the peer if the guest never came.
  ::shutdown(listener.get(), SHUT_RDWR);
  const StreamServed served = peer.get();
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(served.chunks, kMebibytes * PATTERN_CHUNKS_PER_MIB);
  EXPECT_NE(result.out.find(served.guests_line), std::string::npos) << result.out;
}

// What the balloon has, Linux no longer counts as its memory.
TEST_F(LinuxMachineTest, TheBalloonTakesMemoryFromTheGuest) {
  const ProgramResult result =
      RunMachine(MinimalKernel() + "/vmlinux",
                 "total() { sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo; }\n"
                 "while [ $(total) -gt 194560 ]; do sleep 1; done\n"
                 "echo $(total) kB are left",
                 {"--memory", "256M", "--balloon", "target=64M"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.out.find("kB are left"), std::string::npos) << result.out;
}

}  // namespace
}  // namespace mayfly
