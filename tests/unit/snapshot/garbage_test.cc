#include "snapshot/garbage.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include "base/file.h"
#include "snapshot/snapshot_writer.h"
#include "tests/unit/snapshot/sample_state.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

using Fate = Garbage::Fate;

constexpr uint64_t kSize = 16 * GuestMemory::kPageSize;

// Snapshots "base", "one" and "two", each over the one before, and "other" over nothing.
class GarbageTest : public ::testing::Test {
 protected:
  GarbageTest() {
    Save("base", "");
    Save("one", "base");
    Save("two", "one");
    Save("other", "");
  }

  void Save(const std::string& name, const std::string& parent) const {
    std::optional<Snapshot> below;
    if (!parent.empty()) below = *Snapshot::Open(scratch_ / parent);
    auto writer = *SnapshotWriter::Create(scratch_ / name, std::move(below));
    EXPECT_TRUE(writer.WriteMemory(**GuestMemory::Create(kSize)));
    EXPECT_TRUE(std::move(writer).Publish(Manifest{}, SampleState(kSize), nullptr));
  }

  [[nodiscard]] Result<std::vector<Garbage>> Collect(
      std::optional<std::vector<std::string>> keep = std::nullopt, bool dry_run = false) const {
    return CollectGarbage({scratch_.path(), std::move(keep), dry_run});
  }

  // The names with that fate, joined.
  static std::string With(Fate fate, const std::vector<Garbage>& found) {
    std::string names;
    for (const Garbage& garbage : found) {
      if (garbage.fate == fate) names += garbage.name + " ";
    }
    return names;
  }

  Scratch scratch_;
};

TEST_F(GarbageTest, NothingGoesUnlessItIsSaidWhatIsNeeded) {
  EXPECT_EQ(*Collect(), std::vector<Garbage>{});
  EXPECT_EQ(scratch_.CountEntries("."), 4u);
}

TEST_F(GarbageTest, WhatKilledWritersLeftGoes) {
  scratch_.Write("new.part.a1B2c3/memory", "x");
  scratch_.Write("base/.working-set.a1B2c3/working-set", "x");
  scratch_.Write("notes.part.txt", "a file");
  scratch_.Write("my.part.directory/file", "of somebody's");
  EXPECT_EQ(With(Fate::kRemoved, *Collect()), "new.part.a1B2c3 base/.working-set.a1B2c3 ");
  EXPECT_EQ(scratch_.CountEntries("."), 6u);
  EXPECT_TRUE(Snapshot::Open(scratch_ / "base"));
  EXPECT_EQ(scratch_.CountEntries("base"), 4u);
}

TEST_F(GarbageTest, WhatIsBeingWrittenStays) {
  auto writer = *SnapshotWriter::Create(scratch_ / "new");
  EXPECT_EQ(*Collect(), std::vector<Garbage>{});
  ASSERT_TRUE(writer.WriteMemory(**GuestMemory::Create(kSize)));
  ASSERT_TRUE(std::move(writer).Publish(Manifest{}, SampleState(kSize), nullptr));
  EXPECT_TRUE(Snapshot::Open(scratch_ / "new"));
}

TEST_F(GarbageTest, WhatIsNeededStaysWithAllThatItLiesOver) {
  EXPECT_EQ(With(Fate::kRemoved, *Collect({{"one"}})), "other two ");
  EXPECT_TRUE(Snapshot::Open(scratch_ / "one"));
  EXPECT_EQ(scratch_.CountEntries("."), 2u);
}

TEST_F(GarbageTest, WhoLiesOverOthersGoesFirst) {
  EXPECT_EQ(With(Fate::kRemoved, *Collect({{"other/"}})), "two one base ");
  EXPECT_EQ(scratch_.CountEntries("."), 1u);
}

TEST_F(GarbageTest, ADryRunSaysTheSameAndRemovesNothing) {
  EXPECT_EQ(With(Fate::kRemoved, *Collect({{"other"}}, true)), "two one base ");
  EXPECT_EQ(scratch_.CountEntries("."), 4u);
}

TEST_F(GarbageTest, WhatSomebodyHasOpenStaysWithAllThatItLiesOver) {
  const auto open = Snapshot::Open(scratch_ / "one");
  const auto found = *Collect({{"other"}});
  EXPECT_EQ(With(Fate::kRemoved, found), "two ");
  EXPECT_EQ(With(Fate::kInUse, found), "one base ");
  EXPECT_TRUE(Snapshot::Open(scratch_ / "one"));
}

TEST_F(GarbageTest, WhatIsBeingRemovedCannotBeOpened) {
  const UniqueFd lock = *OpenFile(scratch_ / "one", O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(lock.get(), LOCK_EX), 0);
  EXPECT_EQ(CodeOf(Snapshot::Open(scratch_ / "two")), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(Snapshot::Open(scratch_ / "two")), "somebody is removing it"));
}

TEST_F(GarbageTest, NamesThatAreNotThereStopItBeforeAnythingGoes) {
  EXPECT_EQ(CodeOf(Collect({{"one", "typo"}})), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(Collect({{"typo"}})), "typo: no snapshot in"));
  EXPECT_EQ(scratch_.CountEntries("."), 4u);
}

TEST_F(GarbageTest, WhatCannotBeReadIsLeftAlone) {
  scratch_.Write("other/manifest.json", "not a manifest");
  const auto found = *Collect({{"two"}});
  EXPECT_EQ(With(Fate::kDamaged, found), "other ");
  EXPECT_TRUE(scratch_.Contains("other/memory"));
  EXPECT_EQ(CodeOf(Collect({{"other"}})), ErrorCode::kCorrupt);
}

TEST_F(GarbageTest, LinksAreNotFollowed) {
  ASSERT_EQ(::symlink("base", (scratch_ / "link.part.a1B2c3").c_str()), 0);
  EXPECT_EQ(*Collect(), std::vector<Garbage>{});
  EXPECT_TRUE(Snapshot::Open(scratch_ / "base"));
}

TEST_F(GarbageTest, ADirectoryThatIsNotThereIsNamed) {
  EXPECT_EQ(CodeOf(CollectGarbage({scratch_ / "gone", std::nullopt, false})), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace mayfly
