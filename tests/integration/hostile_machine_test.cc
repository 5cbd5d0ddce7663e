#include <fcntl.h>
#include <sys/mman.h>

#include "base/file.h"
#include "tests/integration/hostile_fixture.h"

// What a hostile guest, or a host that loses its memory, does to a machine rather than to a device.
namespace mayfly {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class HostileMachineTest : public HostileFixture {
 protected:
  // Where the guest `basic` touches a page, and that page for the host.
  static constexpr uint64_t kTouched = 64ULL << 20;
  static uint8_t* Touched(const Machine::Parts& parts) {
    return parts.memory->regions().front().host + kTouched;
  }
  // A fatal end takes far less; a loaded host may take its time.
  void ExpectPromptEnd(EndReason reason) {
    const auto start = steady_clock::now();
    const MachineEnd end = WaitForEnd();
    EXPECT_EQ(end.reason, reason) << end.detail;
    EXPECT_LT(steady_clock::now() - start, std::chrono::seconds(1));
  }
};

// Case 25.
TEST_F(HostileMachineTest, UnclaimedPortsAndAddressesReadAsAllOnes) { Abuse("unclaimed", "rng"); }

// Case 45. Not every KVM tells a triple fault from a failed emulation.
TEST_F(HostileMachineTest, TripleFaultInRingZeroEndsTheMachine) {
  const EndReason reason = Run("ring0", "triple fault").reason;
  EXPECT_TRUE(reason == EndReason::kTripleFault || reason == EndReason::kInternalError)
      << NameOf(reason);
  EXPECT_EQ(output(), "R");
}

// Case 46.
TEST_F(HostileMachineTest, HaltWithInterruptsOffCostsNoCpuAndCanBeStopped) {
  Start(ConfigFor("ring0", "halt"));
  ASSERT_TRUE(WaitForOutput("R"));
  EXPECT_LT(CpuTimeIn(milliseconds(200)), milliseconds(100));
  PauseAndStop();
  EXPECT_EQ(machine_->end()->reason, EndReason::kStopped);
}

TEST_F(HostileMachineTest, LoopInRingZeroCanBePausedAndStopped) {
  Start(ConfigFor("ring0", "loop"));
  ASSERT_TRUE(WaitForOutput("R"));
  PauseAndStop();
  EXPECT_EQ(machine_->end()->reason, EndReason::kStopped);
}

TEST_F(HostileMachineTest, UndefinedMsrsFaultInTheGuest) {
  EXPECT_EQ(Run("ring0", "read").reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "RF");
}

TEST_F(HostileMachineTest, UndefinedMsrsCannotBeWritten) {
  EXPECT_EQ(Run("ring0", "write").reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "RF");
}

// Case 47.
TEST_F(HostileMachineTest, PageBehindTheEndOfItsFileEndsTheMachine) {
  const UniqueFd file = OpenFile(PathFor("memory"), O_RDWR | O_CREAT).value();
  Start(ConfigFor("basic", "touch"), [&](Machine::Parts& parts) {
    ASSERT_EQ(::ftruncate(file.get(), 4096), 0);
    ASSERT_NE(::mmap(Touched(parts), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED,
                     file.get(), 0),
              MAP_FAILED);
    ASSERT_EQ(::ftruncate(file.get(), 0), 0);
  });
  ExpectPromptEnd(EndReason::kMemoryIntegrity);
  EXPECT_EQ(output(), "touching\n");
}

TEST_F(HostileMachineTest, PageThatCannotBeReadEndsTheMachine) {
  Start(ConfigFor("basic", "touch"),
        [&](Machine::Parts& parts) { ASSERT_EQ(::mprotect(Touched(parts), 4096, PROT_NONE), 0); });
  ExpectPromptEnd(EndReason::kMemoryIntegrity);
  EXPECT_EQ(output(), "touching\n");
}

// Case 48, as far as a test has time for it: more than a pipe and the limit hold. SerialOutputTest
// has the gigabyte.
TEST_F(HostileMachineTest, ConsoleFloodBeyondTheLimitDoesNotBlockTheGuest) {
  std::array<int, 2> pipe{};
  ASSERT_EQ(::pipe2(pipe.data(), O_CLOEXEC), 0);
  ASSERT_GT(::fcntl(pipe[1], F_SETPIPE_SZ, 4096), 0);
  MachineConfig config = ConfigFor("ring0", "flood");
  config.serial_output = pipe[1];
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
  machine_.reset();
  ::close(pipe[0]);
  ::close(pipe[1]);
}

}  // namespace
}  // namespace mayfly
