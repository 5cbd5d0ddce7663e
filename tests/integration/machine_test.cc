#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>

#include "tests/integration/machine_fixture.h"

namespace mayfly {
namespace {

class MachineTest : public MachineFixture {};

TEST_F(MachineTest, GuestPrintsAndPowersOff) {
  const MachineEnd end = Run("basic", "hello");
  EXPECT_EQ(end.reason, EndReason::kPowerOff) << end.detail;
  EXPECT_EQ(output(), "hello\nPASSED\n");
}

TEST_F(MachineTest, ResetThroughAcpiEndsTheMachine) {
  EXPECT_EQ(Run("basic", "reset-acpi").reason, EndReason::kReset);
}

// Case 46.
TEST_F(MachineTest, ResetThroughTheKeyboardControllerEndsTheMachine) {
  EXPECT_EQ(Run("basic", "reset-i8042").reason, EndReason::kReset);
}

// Case 45. Not every KVM tells a triple fault from a failed emulation.
TEST_F(MachineTest, TripleFaultEndsTheMachine) {
  const EndReason reason = Run("basic", "triple-fault").reason;
  EXPECT_TRUE(reason == EndReason::kTripleFault || reason == EndReason::kInternalError)
      << NameOf(reason);
}

// Case 25.
TEST_F(MachineTest, UnmappedAddressesReadAsAllOnes) {
  EXPECT_EQ(Run("basic", "unmapped").reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

TEST_F(MachineTest, EndlessLoopIsStoppedFromOutside) {
  Start(ConfigFor("basic", "loop"));
  ASSERT_TRUE(WaitForOutput("looping"));
  machine_->Stop();
  EXPECT_EQ(machine_->end()->reason, EndReason::kStopped);
}

TEST_F(MachineTest, PausedGuestDoesNotRunAndResumes) {
  MachineConfig config = ConfigFor("basic", "echo");
  std::array<int, 2> input{};
  ASSERT_EQ(::pipe2(input.data(), O_CLOEXEC | O_NONBLOCK), 0);
  config.serial_input = input[0];
  Start(std::move(config));
  ASSERT_EQ(::write(input[1], "a", 1), 1);
  ASSERT_TRUE(WaitForOutput("a"));
  machine_->Pause();
  ASSERT_EQ(::write(input[1], "b.", 2), 2);
  ::usleep(20'000);
  EXPECT_EQ(output(), "a");
  machine_->Resume();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "abPASSED\n");
  ::close(input[0]);
  ::close(input[1]);
}

TEST_F(MachineTest, MoreInputThanTheFifoHoldsArrivesWhole) {
  MachineConfig config = ConfigFor("basic", "echo");
  std::array<int, 2> input{};
  ASSERT_EQ(::pipe2(input.data(), O_CLOEXEC | O_NONBLOCK), 0);
  config.serial_input = input[0];
  const std::string text(1000, 'x');
  ASSERT_EQ(::write(input[1], (text + ".").data(), 1001), 1001);
  Start(std::move(config));
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), text + "PASSED\n");
  ::close(input[0]);
  ::close(input[1]);
}

TEST_F(MachineTest, ManyMachinesLiveInOneProcess) {
  std::vector<std::unique_ptr<Machine>> machines;
  for (int i = 0; i < 8; ++i) {
    auto machine = MachineBuilder(ConfigFor("basic", "loop"), nullptr).Boot();
    ASSERT_TRUE(machine) << machine.error().message();
    machines.push_back(std::move(*machine));
    machines.back()->Resume();
  }
  machines.clear();
  EXPECT_EQ(Run("basic", "hello").reason, EndReason::kPowerOff);
}

TEST_F(MachineTest, MemoryBeyondFourGibibytesIsThere) {
  MachineConfig config = ConfigFor("basic", "hello");
  config.memory_bytes = 5ULL << 30;
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
}

TEST_F(MachineTest, FourVcpusAreCreated) {
  MachineConfig config = ConfigFor("basic", "hello");
  config.vcpu_count = 4;
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
}

TEST_F(MachineTest, EntropyDeviceGivesDifferentBytes) {
  MachineConfig config = ConfigFor("rng", "");
  config.rng = true;
  EXPECT_EQ(Run(std::move(config)).reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "PASSED\n");
}

TEST_F(MachineTest, MemoryLargerThanTheHostsIsRefused) {
  MachineConfig config = ConfigFor("basic", "hello");
  config.memory_bytes = 1ULL << 45;
  const auto machine = MachineBuilder(std::move(config), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(machine.error().message().find("memory: 33554432 MiB, but this host has "), 0);
}

TEST_F(MachineTest, MissingDiskIsNamed) {
  MachineConfig config = ConfigFor("basic", "hello");
  config.disks.push_back({PathFor("missing.img"), false, UniqueFd()});
  const auto machine = MachineBuilder(std::move(config), nullptr).Boot();
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), ErrorCode::kNotFound);
  EXPECT_NE(machine.error().message().find("missing.img"), std::string::npos);
}

}  // namespace
}  // namespace mayfly
