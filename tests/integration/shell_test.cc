#include <fcntl.h>

#include <functional>

#include "tests/integration/snapshot_fixture.h"
#include "vmm/machine/shell_pool.h"

namespace mayfly {
namespace {

class ShellTest : public SnapshotDirectoryTest {
 protected:
  void SetUp() override {
    SnapshotDirectoryTest::SetUp();
    if (IsSkipped()) return;
    auto snapshot = Snapshot::Open(PathFor("snap"));
    ASSERT_TRUE(snapshot) << snapshot.error().message();
    state_ = snapshot->TakeState();
    memory_ = snapshot->TakeMemory();
  }

  std::unique_ptr<Shell> FilledShell() {
    auto shell = Shell::Create(state_);
    EXPECT_TRUE(shell) << shell.error().message();
    EXPECT_TRUE((*shell)->Fill(memory_->layers().lowest_fd()));
    return *std::move(shell);
  }

  MachineState state_;
  std::unique_ptr<MemoryImage> memory_;
};

TEST_F(ShellTest, MachineGoesOnInAShell) {
  auto machine = MachineBuilder(ConfigFor("", ""), nullptr).Restore(state_, FilledShell());
  ASSERT_TRUE(machine) << machine.error().message();
  machine_ = *std::move(machine);
  BeginLife();
  ExpectALife();
}

TEST_F(ShellTest, StateOfOtherRegistersIsRefused) {
  for (const auto& change : std::vector<std::function<void(VcpuState&)>>{
           [](VcpuState& vcpu) { vcpu.registers.rip ^= 1; },
           [](VcpuState& vcpu) { vcpu.system.fs.base ^= 1; },
           [](VcpuState& vcpu) { vcpu.xsave.region[0] ^= 1; },
           [](VcpuState& vcpu) { vcpu.debug.dr7 ^= 1; },
           [](VcpuState& vcpu) { vcpu.mp_state = KVM_MP_STATE_HALTED; }}) {
    MachineState other = state_;
    change(other.vcpus.front());
    const auto machine = MachineBuilder(ConfigFor("", ""), nullptr).Restore(other, FilledShell());
    ASSERT_FALSE(machine);
    EXPECT_EQ(machine.error().code(), ErrorCode::kInvalidArgument);
  }
}

// Setting them reads page directory pointers, which a shell's memory does not have yet.
TEST_F(ShellTest, RegistersOfA32BitProcessorWithPaeAreNotSetAhead) {
  EXPECT_TRUE(Shell::SetsRegistersOf(state_));
  kvm_sregs& system = state_.vcpus.front().system;
  system.cr0 |= 1U << 31;
  system.cr4 |= 1U << 5;
  system.efer &= ~(1ULL << 10);
  EXPECT_FALSE(Shell::SetsRegistersOf(state_));
  system.cr4 &= ~(1ULL << 5);
  EXPECT_TRUE(Shell::SetsRegistersOf(state_));
}

TEST_F(ShellTest, ShellThatNobodyTakesGoesAway) {
  const auto shell = Shell::Create(state_);
  EXPECT_TRUE(shell);
}

TEST_F(ShellTest, StateOfAnotherShapeIsRefused) {
  MachineState other = state_;
  other.vcpus.front().cpuid.front().eax ^= 1;
  const auto machine = MachineBuilder(ConfigFor("", ""), nullptr).Restore(other, FilledShell());
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), ErrorCode::kInvalidArgument);
}

TEST_F(ShellTest, RestoreThatFailsTakesTheShellWithIt) {
  MachineState broken = state_;
  broken.vcpus.front().msrs.resize(abi::MsrEntries::kSize + 1);
  const auto machine = MachineBuilder(ConfigFor("", ""), nullptr).Restore(broken, FilledShell());
  EXPECT_FALSE(machine);
}

TEST_F(ShellTest, PoolGivesWhatItHas) {
  ShellPool pool(&state_, false, nullptr);
  ASSERT_TRUE(pool.Fill(2));
  EXPECT_EQ(pool.available(), 2U);
  EXPECT_NE(pool.Take(), nullptr);
  EXPECT_NE(pool.Take(), nullptr);
  EXPECT_EQ(pool.Take(), nullptr);
}

TEST_F(ShellTest, PoolRefusesMoreThanItsMost) {
  ShellPool pool(&state_, false, nullptr);
  EXPECT_EQ(pool.Fill(ShellPool::kMostShells + 1).error().code(), ErrorCode::kTooLarge);
  EXPECT_EQ(pool.available(), 0U);
}

}  // namespace
}  // namespace mayfly
