#include <gtest/gtest.h>

#include <cstring>
#include <future>

#include "snapshot/state_file.h"
#include "tests/integration/machine_fixture.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

class SnapshotTest : public MachineFixture {
 protected:
  // Boots the guest and waits, paused, where it rings its doorbell.
  void RunToDoorbell(const std::string& command_line) {
    auto machine = MachineBuilder(ConfigFor("lives", command_line), nullptr).Boot();
    ASSERT_TRUE(machine) << machine.error().message();
    machine_ = std::move(*machine);
    GoToDoorbell();
  }

  void GoToDoorbell() {
    std::promise<void> rung;
    machine_->OnDoorbell([&] { rung.set_value(); });
    machine_->Resume();
    rung.get_future().wait();
    machine_->Pause();
  }

  std::unique_ptr<GuestMemory> CopyOfMemory() {
    auto copy = GuestMemory::Create(machine_->memory().size()).value();
    std::vector<uint8_t> bytes(copy->size());
    EXPECT_TRUE(machine_->memory().Read(GuestAddress{0}, bytes));
    EXPECT_TRUE(copy->Write(GuestAddress{0}, bytes));
    return copy;
  }

  void Restore(MachineState state, std::unique_ptr<GuestMemory> memory) {
    auto machine = MachineBuilder(ConfigFor("", ""), nullptr)
                       .Restore(std::move(state), std::move(memory));
    ASSERT_TRUE(machine) << machine.error().message();
    machine_ = std::move(*machine);
  }

  void BeginLife() { ASSERT_TRUE(machine_->SetRestorePage(NewLife().value())); }
};

TEST_F(SnapshotTest, AMachineGoesOnInAnotherWhereItRangItsDoorbell) {
  RunToDoorbell("1 1");
  const MachineState state = machine_->Save().value();
  auto memory = CopyOfMemory();
  machine_.reset();
  ASSERT_EQ(output(), "");

  Restore(state, std::move(memory));
  BeginLife();
  machine_->Resume();

  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "life 0000000000000001\nPASSED\n");
}

TEST_F(SnapshotTest, TheMachineItselfGoesOnToo) {
  RunToDoorbell("1 1");
  ASSERT_TRUE(machine_->Save());
  BeginLife();
  machine_->Resume();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "life 0000000000000001\nPASSED\n");
}

TEST_F(SnapshotTest, StateSurvivesItsFile) {
  RunToDoorbell("1 1");
  const MachineState state = machine_->Save().value();
  auto memory = CopyOfMemory();
  machine_.reset();

  const std::vector<uint8_t> file = StateFile::Encode(state);
  auto decoded = StateFile::Decode(file);
  ASSERT_TRUE(decoded) << decoded.error().message();
  EXPECT_EQ(StateFile::Encode(*decoded), file);
  Restore(*decoded, std::move(memory));
  BeginLife();
  machine_->Resume();

  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
}

}  // namespace
}  // namespace mayfly
