#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "snapshot/state_file.h"
#include "tests/integration/snapshot_fixture.h"

namespace mayfly {
namespace {

TEST_F(SnapshotTest, AMachineGoesOnInAnotherWhereItRangItsDoorbell) {
  RunToDoorbell("1 1");
  const MachineState state = machine_->Save().value();
  auto memory = CopyOfMemory();
  machine_.reset();
  ASSERT_EQ(output(), "");

  Restore(state, {std::move(memory)});
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
  Restore(*decoded, {std::move(memory)});
  BeginLife();
  machine_->Resume();

  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
}

// The guest rings by the doorbell's address, and has given memory back before.
class SpareMemoryTest : public SnapshotDirectoryTest,
                        public testing::WithParamInterface<MemoryWay> {
 protected:
  SpareMemoryTest() : SnapshotDirectoryTest("2 1 1") {}
};

TEST_P(SpareMemoryTest, IsZeroInEachLifeAndTakesNoPlace) {
  constexpr uint64_t kBlock = 2 << 20;
  constexpr GuestAddress kSpare{24 * kBlock};
  RestoreFrom({GetParam()});
  GoToDoorbell();
  EXPECT_TRUE(machine_->memory().IsZero(kSpare, kBlock));
  EXPECT_FALSE(machine_->memory().IsZero(kSpare + kBlock, kBlock));
  BeginLife();
  machine_->Resume();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_EQ(output(), "life 0000000000000001\nlife 0000000000000002\nPASSED\n");
}

INSTANTIATE_TEST_SUITE_P(Ways, SpareMemoryTest,
                         testing::Values(MemoryWay::kMap, MemoryWay::kUffd, MemoryWay::kEager));

TEST_F(SnapshotDirectoryTest, RestoresByMapping) {
  RestoreFrom({MemoryWay::kMap});
  ExpectALife();
}

TEST_F(SnapshotDirectoryTest, RestoresPageByPage) {
  RestoreFrom({MemoryWay::kUffd});
  ExpectALife();
}

TEST_F(SnapshotDirectoryTest, RestoresPageByPageWithoutChecking) {
  MemoryOptions options{MemoryWay::kUffd};
  options.unverified = true;
  RestoreFrom(options);
  ExpectALife();
}

TEST_F(SnapshotDirectoryTest, RestoresEagerly) {
  RestoreFrom({MemoryWay::kEager});
  ExpectALife();
}

TEST_F(SnapshotDirectoryTest, ManyClonesBeginAtTheSamePoint) {
  RestoreFrom({MemoryWay::kMap});
  const auto first = std::move(machine_);
  RestoreFrom({MemoryWay::kMap});
  ExpectALife();
  machine_ = nullptr;
  first->Resume();
  EXPECT_EQ(first->Wait().reason, EndReason::kPowerOff);
}

TEST_F(SnapshotDirectoryTest, ADamagedPageNeverReachesTheGuest) {
  // The last MiB of what the guest keeps.
  const UniqueFd memory = OpenFile(PathFor("snap/memory"), O_RDWR).value();
  const uint8_t byte = 0xff;
  ASSERT_EQ(::pwrite(memory.get(), &byte, 1, (64 << 20) + (3 << 20)), 1);

  RestoreFrom({MemoryWay::kUffd});
  machine_->Resume();

  const MachineEnd end = WaitForEnd();
  EXPECT_EQ(end.reason, EndReason::kMemoryIntegrity);
  EXPECT_NE(end.detail.find("does not match its digest"), std::string::npos) << end.detail;
  EXPECT_EQ(output(), "");
}

TEST_F(SnapshotDirectoryTest, ADamagedPageThatTheVmmItselfNeedsFailsTheRestore) {
  const UniqueFd memory = OpenFile(PathFor("snap/memory"), O_RDWR).value();
  const uint8_t byte = 0xff;
  ASSERT_EQ(::pwrite(memory.get(), &byte, 1, static_cast<off_t>(kRestorePageAddress + 4000)), 1);
  auto snapshot = Snapshot::Open(PathFor("snap"));
  ASSERT_TRUE(snapshot);
  auto restored = RestoreMemory(snapshot->TakeMemory(), {MemoryWay::kUffd});
  ASSERT_TRUE(restored);
  const auto machine = MachineBuilder(ConfigFor("", ""), nullptr)
                           .Restore(snapshot->TakeState(), std::move(*restored));
  ASSERT_FALSE(machine);
  EXPECT_EQ(machine.error().code(), ErrorCode::kCorrupt);
}

TEST_F(SnapshotDirectoryTest, TheVmmLivesThroughAPageThatIsRefused) {
  const UniqueFd memory = OpenFile(PathFor("snap/memory"), O_RDWR).value();
  const uint8_t byte = 0xff;
  ASSERT_EQ(::pwrite(memory.get(), &byte, 1, (64 << 20) + (3 << 20)), 1);
  RestoreFrom({MemoryWay::kUffd});

  std::vector<uint8_t> bytes(GuestMemory::kPageSize);
  EXPECT_FALSE(machine_->memory().Read(GuestAddress{(64 << 20) + (3 << 20)}, bytes));

  const MachineEnd end = WaitForEnd();
  EXPECT_EQ(end.reason, EndReason::kMemoryIntegrity);
  EXPECT_NE(end.detail.find("does not match its digest"), std::string::npos) << end.detail;
  EXPECT_FALSE(machine_->memory().Read(GuestAddress{(64 << 20) + (3 << 20)}, bytes));
}

TEST_F(SnapshotDirectoryTest, AMappedFileThatIsShortenedEndsTheMachine) {
  RestoreFrom({MemoryWay::kMap});
  std::filesystem::resize_file(PathFor("snap/memory"), 65 << 20);
  machine_->Resume();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kMemoryIntegrity);
  EXPECT_EQ(output(), "");
}

TEST_F(SnapshotDirectoryTest, TheVmmItselfLivesThroughAMappedFileThatIsShortened) {
  RestoreFrom({MemoryWay::kMap});
  std::filesystem::resize_file(PathFor("snap/memory"), 65 << 20);
  uint64_t value = 0;
  EXPECT_FALSE(machine_->memory().ReadValue(GuestAddress{66 << 20}, &value));
  EXPECT_EQ(WaitForEnd().reason, EndReason::kMemoryIntegrity);
}

TEST_F(SnapshotDirectoryTest, APagedFileThatIsShortenedEndsTheMachine) {
  MemoryOptions options{MemoryWay::kUffd};
  options.unverified = true;
  RestoreFrom(options);
  std::filesystem::resize_file(PathFor("snap/memory"), 65 << 20);
  machine_->Resume();
  const MachineEnd end = WaitForEnd();
  EXPECT_EQ(end.reason, EndReason::kMemoryIntegrity);
  EXPECT_NE(end.detail.find("shorter"), std::string::npos) << end.detail;
  EXPECT_EQ(output(), "");
}

TEST_F(SnapshotDirectoryTest, ADamagedPageIsFoundBeforeMapping) {
  const UniqueFd memory = OpenFile(PathFor("snap/memory"), O_RDWR).value();
  const uint8_t byte = 0xff;
  ASSERT_EQ(::pwrite(memory.get(), &byte, 1, (64 << 20) + (3 << 20)), 1);
  auto snapshot = Snapshot::Open(PathFor("snap"));
  ASSERT_TRUE(snapshot);
  const auto restored = RestoreMemory(snapshot->TakeMemory(), {MemoryWay::kMap});
  ASSERT_FALSE(restored);
  EXPECT_EQ(restored.error().code(), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace mayfly
