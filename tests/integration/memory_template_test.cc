#include "snapshot/memory_template.h"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <iostream>

#include "base/file.h"
#include "tests/integration/snapshot_fixture.h"

namespace mayfly {
namespace {

// A template of a guest that keeps 1 MiB, checks all of it in its life, and writes all of it.
class MemoryTemplateTest : public SnapshotDirectoryTest {
 protected:
  MemoryTemplateTest() : SnapshotDirectoryTest("1 1") {}
  explicit MemoryTemplateTest(std::string lives) : SnapshotDirectoryTest(std::move(lives)) {}

  static constexpr uint64_t kArena = 64 << 20;

  Result<std::unique_ptr<MemoryTemplate>> MakeTemplate(const MemoryOptions& options = {}) {
    Snapshot snapshot = TRY(Snapshot::Open(PathFor("snap")));
    return MemoryTemplate::Create(snapshot.TakeMemory(), options);
  }

  // Ready for a life of its own.
  Result<std::unique_ptr<Machine>> CloneOf(const MemoryTemplate& memory_template,
                                           const MemoryOptions& options) {
    Snapshot snapshot = TRY(Snapshot::Open(PathFor("snap")));
    RestoredMemory memory = TRY(memory_template.Clone(options));
    auto machine = TRY(MachineBuilder(ConfigFor("", ""), nullptr)
                           .Restore(snapshot.TakeState(), std::move(memory)));
    const RestorePage life = TRY(NewLife());
    TRY(machine->SetRestorePage(life));
    return machine;
  }

  void ExpectALifeOf(MemoryWay way) {
    const auto memory_template = MakeTemplate();
    ASSERT_TRUE(memory_template) << memory_template.error().message();
    auto machine = CloneOf(**memory_template, {way});
    ASSERT_TRUE(machine) << machine.error().message();
    machine_ = std::move(*machine);
    ExpectALife();
  }

  static void FlipByteOf(const std::string& path, uint64_t offset) {
    const UniqueFd file = OpenFile(path, O_RDWR).value();
    const uint8_t byte = 0xff;
    ASSERT_EQ(::pwrite(file.get(), &byte, 1, static_cast<off_t>(offset)), 1);
  }
};

TEST_F(MemoryTemplateTest, ClonesByMapping) { ExpectALifeOf(MemoryWay::kMap); }

TEST_F(MemoryTemplateTest, ClonesPageByPage) { ExpectALifeOf(MemoryWay::kUffd); }

TEST_F(MemoryTemplateTest, ClonesEagerly) { ExpectALifeOf(MemoryWay::kEager); }

TEST_F(MemoryTemplateTest, ClonesStayWhenTemplateAndFileAreGone) {
  auto memory_template = MakeTemplate();
  ASSERT_TRUE(memory_template) << memory_template.error().message();
  auto machine = CloneOf(**memory_template, {MemoryWay::kUffd});
  ASSERT_TRUE(machine) << machine.error().message();
  memory_template->reset();
  ASSERT_EQ(::truncate(PathFor("snap/memory").c_str(), 0), 0);
  machine_ = std::move(*machine);
  ExpectALife();
}

TEST_F(MemoryTemplateTest, WhatACloneWritesIsItsOwn) {
  const auto memory_template = MakeTemplate().value();
  const auto first = CloneOf(*memory_template, {MemoryWay::kUffd}).value();
  const auto second = CloneOf(*memory_template, {MemoryWay::kMap}).value();
  uint64_t before = 0;
  ASSERT_TRUE(second->memory().ReadValue(GuestAddress{kArena}, &before));
  ASSERT_TRUE(first->memory().WriteValue(GuestAddress{kArena}, before + 1));
  uint64_t after = 0;
  ASSERT_TRUE(second->memory().ReadValue(GuestAddress{kArena}, &after));
  EXPECT_EQ(after, before);
}

TEST_F(MemoryTemplateTest, AWorkingSetIsRecordedAndSparesTheFaults) {
  const auto memory_template = MakeTemplate().value();
  MemoryOptions options{MemoryWay::kUffd};
  options.pager.record = true;
  options.pager.run_bytes = GuestMemory::kPageSize;
  machine_ = CloneOf(*memory_template, options).value();
  ExpectALife();
  const uint64_t lazy = machine_->pager()->fault_count();
  WorkingSet set = machine_->pager()->TakeRecord();
  set.first_stage = static_cast<uint32_t>(set.runs.size());
  options.working_set = &set;
  machine_ = CloneOf(*memory_template, options).value();
  machine_->Resume();
  EXPECT_EQ(WaitForEnd().reason, EndReason::kPowerOff);
  EXPECT_GE(lazy, 256);
  EXPECT_LT(machine_->pager()->fault_count(), lazy / 10);
}

TEST_F(MemoryTemplateTest, DamageIsFoundWhenItIsMade) {
  FlipByteOf(PathFor("snap/memory"), kArena + 4096);
  const auto memory_template = MakeTemplate();
  ASSERT_FALSE(memory_template);
  EXPECT_EQ(memory_template.error().code(), ErrorCode::kCorrupt);
}

// The guest has two lives, and rings its doorbell between them.
class ManyClonesTest : public MemoryTemplateTest {
 protected:
  ManyClonesTest() : MemoryTemplateTest("2 1") {}

  static constexpr int kMany = 200;

  // What this process has in memory for itself alone.
  static uint64_t PrivateKib() {
    std::ifstream status("/proc/self/status");
    std::string word;
    while (status >> word && word != "RssAnon:") {
    }
    uint64_t kib = 0;
    status >> kib;
    return kib;
  }

  // A clone that has had one life, and stands where the next one begins.
  std::unique_ptr<Machine> CloneAfterALife(const MemoryTemplate& memory_template, MemoryWay way) {
    std::promise<void> rung;
    auto clone = CloneOf(memory_template, {way});
    if (!clone) {
      ADD_FAILURE() << clone.error().message();
      return nullptr;
    }
    (*clone)->OnDoorbell([&rung] { rung.set_value(); });
    (*clone)->Resume();
    rung.get_future().wait();
    (*clone)->Pause();
    return std::move(*clone);
  }

  // All are there after their first life, and all have another one.
  void ExpectManyLives(MemoryWay way) {
    const auto memory_template = MakeTemplate();
    ASSERT_TRUE(memory_template) << memory_template.error().message();
    const uint64_t before = PrivateKib();
    std::vector<std::unique_ptr<Machine>> clones;
    for (int i = 0; i < kMany; ++i) {
      clones.push_back(CloneAfterALife(**memory_template, way));
      ASSERT_NE(clones.back(), nullptr);
    }
    const uint64_t each = (PrivateKib() - before) / kMany;
    std::cout << each << " KiB for each of " << kMany << " clones that have written 1 MiB\n";
    EXPECT_LE(each, 2048);
    int lives = 0;
    for (const auto& clone : clones) {
      ASSERT_TRUE(clone->SetRestorePage(NewLife().value()));
      clone->Resume();
      if (clone->Wait().reason == EndReason::kPowerOff) ++lives;
      clone->Stop();
    }
    EXPECT_EQ(lives, kMany);
    EXPECT_EQ(output().find("FAILED"), std::string::npos);
  }
};

TEST_F(ManyClonesTest, LiveAtATimeByMapping) { ExpectManyLives(MemoryWay::kMap); }

TEST_F(ManyClonesTest, LiveAtATimePageByPage) { ExpectManyLives(MemoryWay::kUffd); }

}  // namespace
}  // namespace mayfly
