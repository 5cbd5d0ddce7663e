#pragma once

#include <gtest/gtest.h>

#include <future>
#include <string>

#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_writer.h"
#include "tests/integration/machine_fixture.h"
#include "vmm/machine/new_life.h"

namespace mayfly {

// Saves and restores the guest `lives`.
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

  void Restore(MachineState state, RestoredMemory memory) {
    auto machine =
        MachineBuilder(ConfigFor("", ""), nullptr).Restore(std::move(state), std::move(memory));
    ASSERT_TRUE(machine) << machine.error().message();
    machine_ = std::move(*machine);
  }

  void BeginLife() { ASSERT_TRUE(machine_->SetRestorePage(NewLife().value())); }
};

// A snapshot directory of a guest that keeps 4 MiB, or more, and has one life to go.
class SnapshotDirectoryTest : public SnapshotTest {
 protected:
  SnapshotDirectoryTest() = default;
  explicit SnapshotDirectoryTest(std::string command_line)
      : command_line_(std::move(command_line)) {}

  void SetUp() override {
    SnapshotTest::SetUp();
    if (IsSkipped()) return;
    RunToDoorbell(command_line_);
    const auto written = WriteSnapshot(PathFor("snap"), Manifest{}, machine_->Save().value(),
                                       machine_->memory(), nullptr);
    ASSERT_TRUE(written) << written.error().message();
    machine_.reset();
  }

  void RestoreFrom(const MemoryOptions& options) {
    auto snapshot = Snapshot::Open(PathFor("snap"));
    ASSERT_TRUE(snapshot) << snapshot.error().message();
    auto memory = RestoreMemory(snapshot->TakeMemory(), options);
    ASSERT_TRUE(memory) << memory.error().message();
    Restore(snapshot->TakeState(), std::move(*memory));
    BeginLife();
  }

  void ExpectALife() {
    ASSERT_NE(machine_, nullptr);
    machine_->Resume();
    EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
    EXPECT_EQ(output(), "life 0000000000000001\nPASSED\n");
  }

 private:
  const std::string command_line_ = "1 4";
};

}  // namespace mayfly
