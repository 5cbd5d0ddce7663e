#include "snapshot/snapshot_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/file.h"
#include "snapshot/restored_memory.h"
#include "tests/unit/snapshot/sample_state.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;
constexpr uint64_t kSize = 4 * kChunk;

// A snapshot "base" whose pages 0, 1 and 17 are not zero, and snapshots over it.
class LayeredSnapshotTest : public ::testing::Test {
 protected:
  LayeredSnapshotTest() {
    const auto memory = *GuestMemory::Create(kSize);
    Fill(*memory, 0, 0x10);
    Fill(*memory, 1, 0x11);
    Fill(*memory, 17, 0x17);
    const auto written =
        WriteSnapshot(scratch_ / "base", Manifest{}, SampleState(kSize), *memory, nullptr);
    EXPECT_TRUE(written) << written.error().message();
  }

  static void Fill(const GuestMemory& memory, uint64_t page, uint8_t value) {
    EXPECT_TRUE(memory.Fill(GuestAddress{page * kPage}, value, kPage));
  }
  static uint8_t ByteOf(const GuestMemory& memory, uint64_t page) {
    uint8_t byte = 0xee;
    EXPECT_TRUE(memory.ReadValue(GuestAddress{page * kPage + 99}, &byte));
    return byte;
  }

  [[nodiscard]] Result<RestoredMemory> Restore(const std::string& name, MemoryWay way,
                                               bool unverified = false) const {
    Snapshot snapshot = TRY(Snapshot::Open(scratch_ / name));
    MemoryOptions options{way};
    options.unverified = unverified;
    return RestoreMemory(snapshot.TakeMemory(), options);
  }

  [[nodiscard]] Result<void> SaveOver(const std::string& parent, const std::string& name,
                                      const GuestMemory& memory) const {
    Snapshot below = TRY(Snapshot::Open(scratch_ / parent));
    SnapshotWriter writer = TRY(SnapshotWriter::Create(scratch_ / name, std::move(below)));
    TRY(writer.WriteMemory(memory));
    return std::move(writer).Publish(Manifest{}, SampleState(kSize), nullptr);
  }

  // A clone of `parent` in which `change` was done, saved over it as `name`.
  template <class Change>
  void Layer(const std::string& parent, const std::string& name, Change change,
             MemoryWay way = MemoryWay::kMap) const {
    const auto clone = Restore(parent, way);
    ASSERT_TRUE(clone) << clone.error().message();
    change(*clone->memory);
    const auto saved = SaveOver(parent, name, *clone->memory);
    ASSERT_TRUE(saved) << saved.error().message();
  }

  // "one": page 1 is zero, page 2 new; "two" over it: page 2 another, and page 40.
  void MakeChain() const {
    Layer("base", "one", [](const GuestMemory& memory) {
      Fill(memory, 1, 0);
      Fill(memory, 2, 0x22);
    });
    Layer("one", "two", [](const GuestMemory& memory) {
      Fill(memory, 2, 0x23);
      Fill(memory, 40, 0x40);
    });
  }

  void ExpectChain(const std::string& name, MemoryWay way, bool unverified = false) const {
    const auto clone = Restore(name, way, unverified);
    ASSERT_TRUE(clone) << clone.error().message();
    EXPECT_EQ(ByteOf(*clone->memory, 0), 0x10);
    EXPECT_EQ(ByteOf(*clone->memory, 1), 0);
    EXPECT_EQ(ByteOf(*clone->memory, 2), 0x23);
    EXPECT_EQ(ByteOf(*clone->memory, 17), 0x17);
    EXPECT_EQ(ByteOf(*clone->memory, 40), 0x40);
    EXPECT_EQ(ByteOf(*clone->memory, 63), 0);
  }

  [[nodiscard]] PageRuns PagesOf(const std::string& name) const {
    return *PageRuns::Decode(*ReadFile(scratch_ / (name + "/memory.pages"), 1 << 20),
                             kSize / kPage);
  }

  [[nodiscard]] Result<Snapshot> Open(const std::string& name) const {
    return Snapshot::Open(scratch_ / name);
  }

  // Writes the manifest of `name` anew, with `change` done to it.
  template <class Change>
  void Forge(const std::string& name, Change change) const {
    const std::string path = scratch_ / (name + "/manifest.json");
    Manifest manifest = *Manifest::Parse(AsText(*ReadFile(path, 1 << 20)), "manifest.json");
    change(manifest);
    scratch_.Write(name + "/manifest.json", manifest.Serialize());
  }

  Scratch scratch_;
};

TEST_F(LayeredSnapshotTest, OnlyPagesThatDifferAreWritten) {
  Layer("base", "one", [](const GuestMemory& memory) {
    Fill(memory, 0, 0x10);  // As it was.
    Fill(memory, 1, 0x99);
    Fill(memory, 2, 0x99);
    Fill(memory, 30, 0);  // As it was.
  });
  EXPECT_EQ(PagesOf("one"), (PageRuns{{{1, 2}}}));
  struct stat status{};
  ASSERT_EQ(::stat((scratch_ / "one/memory").c_str(), &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kSize));
  EXPECT_LE(status.st_blocks * 512, static_cast<off_t>(2 * kPage));
}

TEST_F(LayeredSnapshotTest, EveryWayOfFillingMemoryFindsTheSamePages) {
  Layer("base", "mapped", [](const GuestMemory& memory) { Fill(memory, 5, 1); });
  const auto change = [](const GuestMemory& memory) { Fill(memory, 5, 1); };
  Layer("base", "paged", change, MemoryWay::kUffd);
  Layer("base", "read", change, MemoryWay::kEager);
  EXPECT_EQ(PagesOf("mapped"), (PageRuns{{{5, 1}}}));
  EXPECT_EQ(PagesOf("paged"), PagesOf("mapped"));
  EXPECT_EQ(PagesOf("read"), PagesOf("mapped"));
}

TEST_F(LayeredSnapshotTest, DiscardedPagesAreZeroAfterwards) {
  Layer("base", "one",
        [](const GuestMemory& memory) { ASSERT_TRUE(memory.Discard(GuestAddress{0}, 2 * kPage)); });
  EXPECT_EQ(PagesOf("one"), (PageRuns{{{0, 2}}}));
  const auto clone = Restore("one", MemoryWay::kMap);
  EXPECT_EQ(ByteOf(*clone->memory, 0), 0);
  EXPECT_EQ(ByteOf(*clone->memory, 17), 0x17);
}

TEST_F(LayeredSnapshotTest, AChainIsRestoredInEveryWay) {
  MakeChain();
  ExpectChain("two", MemoryWay::kMap);
  ExpectChain("two", MemoryWay::kUffd);
  ExpectChain("two", MemoryWay::kUffd, true);
  ExpectChain("two", MemoryWay::kEager);
  ExpectChain("two", MemoryWay::kEager, true);
}

TEST_F(LayeredSnapshotTest, ParentsStayAsTheyAre) {
  MakeChain();
  const auto base = Restore("base", MemoryWay::kMap);
  EXPECT_EQ(ByteOf(*base->memory, 1), 0x11);
  EXPECT_EQ(ByteOf(*base->memory, 2), 0);
}

// More extents than are mapped: the rest is copied.
TEST_F(LayeredSnapshotTest, AMuchDividedLayerIsRestoredByMapping) {
  constexpr uint64_t kManyPages = 2048;
  const auto memory = *GuestMemory::Create(kManyPages * kPage);
  Fill(*memory, 1, 1);
  ASSERT_TRUE(WriteSnapshot(scratch_ / "wide", Manifest{}, SampleState(kManyPages * kPage), *memory,
                            nullptr));
  const auto clone = *Restore("wide", MemoryWay::kMap);
  for (uint64_t page = 0; page < kManyPages; page += 2) Fill(*clone.memory, page, 0x77);
  auto writer = *SnapshotWriter::Create(scratch_ / "striped", *Snapshot::Open(scratch_ / "wide"));
  ASSERT_TRUE(writer.WriteMemory(*clone.memory));
  ASSERT_TRUE(std::move(writer).Publish(Manifest{}, SampleState(kManyPages * kPage), nullptr));
  const auto restored = Restore("striped", MemoryWay::kMap);
  ASSERT_TRUE(restored) << restored.error().message();
  for (uint64_t page = 0; page < kManyPages; page += 2) {
    ASSERT_EQ(ByteOf(*restored->memory, page), 0x77) << page;
    ASSERT_EQ(ByteOf(*restored->memory, page + 1), page == 0 ? 1 : 0) << page;
  }
}

TEST_F(LayeredSnapshotTest, FlattenedItStandsAlone) {
  MakeChain();
  const WorkingSet set{1, {{2, 1, true}}};
  ASSERT_TRUE(WriteWorkingSet(scratch_ / "two", set));
  ASSERT_TRUE(FlattenSnapshot(scratch_ / "two", scratch_ / "flat", nullptr));
  std::filesystem::remove_all(scratch_ / "base");
  std::filesystem::remove_all(scratch_ / "one");
  std::filesystem::remove_all(scratch_ / "two");
  ExpectChain("flat", MemoryWay::kMap);
  const auto flat = Open("flat");
  EXPECT_EQ(flat->layers(), 1u);
  EXPECT_EQ(flat->manifest().parent, std::nullopt);
  EXPECT_EQ(*flat->ReadWorkingSet(), set);
}

TEST_F(LayeredSnapshotTest, DamageInAnyLayerIsFound) {
  MakeChain();
  const UniqueFd base = *OpenFile(scratch_ / "base/memory", O_RDWR);
  ASSERT_EQ(::pwrite(base.get(), "x", 1, 17 * kPage), 1);
  EXPECT_EQ(CodeOf(Restore("two", MemoryWay::kMap)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Restore("two", MemoryWay::kEager)), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(FlattenSnapshot(scratch_ / "two", scratch_ / "flat", nullptr)),
            ErrorCode::kCorrupt);
  EXPECT_FALSE(scratch_.Contains("flat"));
}

TEST_F(LayeredSnapshotTest, CheckedParentsMakeACheckedLayer) {
  const auto stamps = *VerifiedStamps::Open(scratch_ / "stamps");
  const auto save = [&](const std::string& name) {
    auto writer = *SnapshotWriter::Create(scratch_ / name, *Open("base"));
    EXPECT_TRUE(writer.WriteMemory(*Restore("base", MemoryWay::kMap)->memory));
    EXPECT_TRUE(std::move(writer).Publish(Manifest{}, SampleState(kSize), &stamps));
    auto snapshot = *Open(name);
    return stamps.Has(*VerifiedStamps::StampOf(snapshot.TakeMemory()->layers().fds(),
                                               snapshot.manifest_digest()));
  };
  EXPECT_FALSE(save("unchecked"));
  auto base = *Open("base");
  ASSERT_TRUE(stamps.Add(
      *VerifiedStamps::StampOf(base.TakeMemory()->layers().fds(), base.manifest_digest())));
  EXPECT_TRUE(save("checked"));
}

TEST_F(LayeredSnapshotTest, ParentBesideItIsFoundWhereBothWereMoved) {
  MakeChain();
  EXPECT_EQ(Open("two")->manifest().parent->path, "one");
  std::filesystem::create_directory(scratch_ / "elsewhere");
  std::filesystem::rename(scratch_ / "base", scratch_ / "elsewhere/base");
  std::filesystem::rename(scratch_ / "one", scratch_ / "elsewhere/one");
  EXPECT_TRUE(Open("elsewhere/one"));
  EXPECT_EQ(CodeOf(Open("two")), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(Open("two")), "parent: open"));
}

TEST_F(LayeredSnapshotTest, ParentElsewhereIsNamedInFull) {
  std::filesystem::create_directory(scratch_ / "elsewhere");
  Layer("base", "elsewhere/one", [](const GuestMemory& memory) { Fill(memory, 3, 3); });
  EXPECT_EQ(Open("elsewhere/one")->manifest().parent->path, scratch_ / "base");
}

TEST_F(LayeredSnapshotTest, AnotherParentThanItsOwnIsRefused) {
  MakeChain();
  std::filesystem::rename(scratch_ / "base", scratch_ / "old");
  std::filesystem::rename(scratch_ / "two", scratch_ / "base");
  EXPECT_EQ(CodeOf(Open("one")), ErrorCode::kCorrupt);
  EXPECT_TRUE(Mentions(MessageOf(Open("one")), "the snapshot was made over"));
}

TEST_F(LayeredSnapshotTest, ARingOfParentsIsRefused) {
  MakeChain();
  Forge("one", [](Manifest& manifest) { manifest.parent->path = "two"; });
  EXPECT_EQ(CodeOf(Open("one")), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Open("two")), ErrorCode::kCorrupt);
  Forge("one", [](Manifest& manifest) { manifest.parent->path = "one"; });
  EXPECT_EQ(CodeOf(Open("one")), ErrorCode::kCorrupt);
}

TEST_F(LayeredSnapshotTest, AParentOfAnotherSizeIsRefused) {
  const auto memory = *GuestMemory::Create(kSize + kPage);
  ASSERT_TRUE(
      WriteSnapshot(scratch_ / "large", Manifest{}, SampleState(kSize + kPage), *memory, nullptr));
  EXPECT_EQ(CodeOf(SaveOver("large", "one", *Restore("base", MemoryWay::kMap)->memory)),
            ErrorCode::kInvalidArgument);
  MakeChain();
  const Sha256Digest large = Open("large")->manifest_digest();
  Forge("one", [&](Manifest& manifest) {
    manifest.parent->path = "large";
    manifest.parent->digest = large;
  });
  EXPECT_EQ(CodeOf(Open("one")), ErrorCode::kCorrupt);
  EXPECT_TRUE(Mentions(MessageOf(Open("one")), "266240 bytes of memory, the snapshot has 262144"));
}

TEST_F(LayeredSnapshotTest, TooManyLayersAreRefusedWhenTheyAreMade) {
  std::string below = "base";
  for (size_t i = 1; i < Snapshot::kMostLayers; ++i) {
    const std::string name = "layer" + std::to_string(i);
    Layer(below, name,
          [&](const GuestMemory& memory) { Fill(memory, 50, static_cast<uint8_t>(i)); });
    below = name;
  }
  EXPECT_EQ(Open(below)->layers(), Snapshot::kMostLayers);
  const auto saved = SaveOver(below, "top", *Restore(below, MemoryWay::kMap)->memory);
  EXPECT_EQ(CodeOf(saved), ErrorCode::kInvalidArgument);
  EXPECT_TRUE(Mentions(MessageOf(saved), "lies over 15 others"));
  EXPECT_FALSE(scratch_.Contains("top"));
  // One that was made elsewhere, by somebody who does not count.
  Layer("base", "top", [](const GuestMemory&) {});
  const Sha256Digest digest = Open(below)->manifest_digest();
  Forge("top", [&](Manifest& manifest) {
    manifest.parent->path = below;
    manifest.parent->digest = digest;
  });
  EXPECT_EQ(CodeOf(Open("top")), ErrorCode::kUnsupported);
  EXPECT_TRUE(Mentions(MessageOf(Open("top")), "more than 16 snapshots over each other"));
}

TEST_F(LayeredSnapshotTest, ChangedPageListsAreFound) {
  MakeChain();
  const std::vector<uint8_t> other = *PageRuns{{{7, 1}}}.Encode();
  scratch_.Write("one/memory.pages", AsText(other));
  EXPECT_TRUE(Mentions(MessageOf(Open("one")), "memory.pages: its digest does not match"));
  EXPECT_EQ(CodeOf(Open("two")), ErrorCode::kCorrupt);
  // With a manifest to match, the pages are found to be others.
  Forge("one", [&](Manifest& manifest) { manifest.parent->pages = DigestOf(other); });
  EXPECT_EQ(CodeOf(Restore("one", MemoryWay::kMap)), ErrorCode::kCorrupt);
}

}  // namespace
}  // namespace mayfly
