#include <sstream>

#include "tests/guest/guest_fixture.h"

namespace mayfly {
namespace {

// Plain machines with a Linux guest, saved and restored by the command.
class LinuxVmSnapshotTest : public GuestFixture {
 protected:
  static constexpr int kTicks = 12;

  // Counts on its disk, and says what it has read back.
  static std::string CountingScript() {
    return "mount -t devtmpfs dev /dev\n"
           "i=0\n"
           "while [ $i -lt " +
           std::to_string(kTicks) +
           " ]; do\n"
           "  i=$((i + 1))\n"
           "  printf '%-511s\\n' $i >/dev/vda && sync\n"
           "  echo 1 >/proc/sys/vm/drop_caches\n"
           "  echo tick $i $(head -c 511 /dev/vda)\n"
           "  sleep 0.5\n"
           "done";
  }

  // The lines that the script has printed, without the console's carriage returns.
  static std::string TicksOf(const std::string& output) {
    std::string ticks;
    std::istringstream lines(output);
    for (std::string line; std::getline(lines, line);) {
      std::erase(line, '\r');
      if (line.starts_with("tick ")) ticks += line + "\n";
    }
    return ticks;
  }

  static std::string AllTicks() {
    std::string ticks;
    for (int i = 1; i <= kTicks; ++i) {
      ticks += "tick " + std::to_string(i) + " " + std::to_string(i) + "\n";
    }
    return ticks;
  }
};

TEST_F(LinuxVmSnapshotTest, AMachineWithEveryDeviceGoesOnWhereItWasSaved) {
  ASSERT_EQ(RunProgram({"truncate", "-s", "1M", PathFor("disk")}).status, 0);
  const ProgramResult first =
      RunMachine(MinimalKernel() + "/vmlinux", CountingScript(),
                 {"--memory", "128M", "--vcpus", "2", "--disk", PathFor("disk"), "--vsock",
                  PathFor("v"), "--rng", "--balloon", "target=0", "--snapshot-to", PathFor("snap"),
                  "--snapshot-after", "4s", "--snapshot-exit"});
  ASSERT_EQ(first.status, 0) << first.err << first.out;

  for (const char* way : {"map", "uffd"}) {
    ASSERT_EQ(RunProgram({"cp", PathFor("disk"), PathFor("copy")}).status, 0);
    const ProgramResult second = Mayfly({"vm", "--restore", PathFor("snap"), "--memory", way,
                                         "--disk", PathFor("copy"), "--vsock", PathFor("v")});
    EXPECT_EQ(second.status, 0) << second.err;
    // The line in which it was saved is half in one output and half in the other.
    EXPECT_EQ(TicksOf(first.out + second.out), AllTicks()) << first.out << "|" << second.out;
    EXPECT_EQ(RunProgram({"head", "-c", "2", PathFor("copy")}).out, std::to_string(kTicks));
  }
}

}  // namespace
}  // namespace mayfly
