#include "snapshot/state_file.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/bytes.h"
#include "tests/unit/snapshot/sample_state.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr size_t kHeader = 16;
constexpr size_t kTableEntry = 48;
constexpr size_t kSections = 11;
constexpr size_t kContents = kHeader + kSections * kTableEntry;

// As a snapshot is opened: the manifest says what the table's digest is.
Result<MachineState> Open(std::span<const uint8_t> bytes, const Sha256Digest& pinned) {
  const Sha256Digest digest = TRY(StateFile::TableDigest(bytes));
  if (digest != pinned) return Fail(ErrorCode::kCorrupt, "another table");
  return StateFile::Decode(bytes);
}

bool IsRefused(const Result<MachineState>& result) {
  return CodeOf(result) == ErrorCode::kCorrupt || CodeOf(result) == ErrorCode::kUnsupported;
}

class StateFileTest : public ::testing::Test {
 protected:
  // Makes the digest of the first section, memory_bytes, right again.
  void SealFirstSection() {
    const Sha256Digest digest = DigestOf(std::span(file_).subspan(kContents, sizeof(uint64_t)));
    std::ranges::copy(digest, file_.begin() + kHeader + 16);
  }

  Bytes file_ = StateFile::Encode(SampleState());
  const Sha256Digest pinned_ = *StateFile::TableDigest(file_);
};

TEST_F(StateFileTest, EveryDeviceSurvives) {
  const MachineState expected = SampleState();
  const auto state = Open(file_, pinned_);
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->memory_bytes, expected.memory_bytes);
  EXPECT_EQ(state->clock_ns, expected.clock_ns);
  EXPECT_EQ(state->ioapic, expected.ioapic);
  EXPECT_EQ(state->serial, expected.serial);
  EXPECT_EQ(state->generation, expected.generation);
  EXPECT_EQ(state->virtio, expected.virtio);
  EXPECT_EQ(state->disks, expected.disks);
  EXPECT_EQ(state->nets, expected.nets);
  EXPECT_EQ(state->vsocks, expected.vsocks);
  EXPECT_EQ(state->balloons, expected.balloons);
  ASSERT_EQ(state->vcpus.size(), 1u);
  EXPECT_EQ(state->vcpus[0].tsc_khz, expected.vcpus[0].tsc_khz);
  EXPECT_EQ(state->vcpus[0].registers.rip, expected.vcpus[0].registers.rip);
  EXPECT_EQ(StateFile::Encode(*state), file_);
}

TEST_F(StateFileTest, MachineWithoutDevicesSurvives) {
  const Bytes file = StateFile::Encode(MachineState{});
  EXPECT_EQ(StateFile::Encode(*StateFile::Decode(file)), file);
}

TEST_F(StateFileTest, EveryTruncationIsRefused) {
  for (size_t size = 0; size < file_.size(); ++size) {
    ASSERT_TRUE(IsRefused(Open(std::span(file_).first(size), pinned_))) << size;
  }
}

TEST_F(StateFileTest, EverySingleBitFlipIsRefused) {
  for (size_t bit = 0; bit < file_.size() * 8; ++bit) {
    file_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    ASSERT_TRUE(IsRefused(Open(file_, pinned_))) << "bit " << bit;
    file_[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST_F(StateFileTest, BytesBehindTheLastSectionAreRefused) {
  file_.push_back(0);
  EXPECT_TRUE(Mentions(MessageOf(Open(file_, pinned_)), "more behind the last section"));
}

TEST_F(StateFileTest, AnotherFormatVersionIsUnsupported) {
  StoreLe(std::span(file_).subspan(8), uint16_t{2});
  EXPECT_EQ(CodeOf(StateFile::Decode(file_)), ErrorCode::kUnsupported);
  EXPECT_EQ(MessageOf(StateFile::Decode(file_)), "format version 2, this mayfly reads 1");
}

TEST_F(StateFileTest, AnotherSectionVersionIsUnsupported) {
  StoreLe(std::span(file_).subspan(kHeader + 4), uint16_t{2});
  EXPECT_EQ(CodeOf(StateFile::Decode(file_)), ErrorCode::kUnsupported);
  EXPECT_EQ(MessageOf(StateFile::Decode(file_)),
            "memory_bytes: section version 2, this mayfly reads 1");
}

TEST_F(StateFileTest, SectionsInAnotherOrderAreRefused) {
  std::swap_ranges(file_.begin() + kHeader, file_.begin() + kHeader + kTableEntry,
                   file_.begin() + kHeader + kTableEntry);
  EXPECT_EQ(MessageOf(StateFile::Decode(file_)), "memory_bytes: another section is in its place");
}

TEST_F(StateFileTest, FewerSectionsAreRefused) {
  StoreLe(std::span(file_).subspan(10), uint16_t{kSections - 1});
  file_.erase(file_.begin() + kContents - kTableEntry, file_.begin() + kContents);
  EXPECT_EQ(MessageOf(StateFile::Decode(file_)), "balloons: the section is missing");
}

TEST_F(StateFileTest, MoreSectionsAreRefused) {
  StoreLe(std::span(file_).subspan(10), uint16_t{kSections + 1});
  file_.insert(file_.begin() + kContents, kTableEntry, 0);
  EXPECT_TRUE(Mentions(MessageOf(StateFile::Decode(file_)), "more behind the last section"));
}

TEST_F(StateFileTest, SectionLongerThanTheFileIsRefused) {
  StoreLe(std::span(file_).subspan(kHeader + 8), UINT64_MAX);
  EXPECT_EQ(MessageOf(StateFile::Decode(file_)), "memory_bytes: it is cut off");
}

TEST_F(StateFileTest, SectionThatIsLongerThanItsContentsIsRefused) {
  StoreLe(std::span(file_).subspan(kHeader + 8), uint64_t{9});
  file_.insert(file_.begin() + kContents + 8, 0);
  const Sha256Digest digest = DigestOf(std::span(file_).subspan(kContents, 9));
  std::ranges::copy(digest, file_.begin() + kHeader + 16);
  EXPECT_EQ(MessageOf(StateFile::Decode(file_)), "memory_bytes: 1 bytes too many");
}

// Whoever can write the file can make its digests right too: the manifest pins the table.
TEST_F(StateFileTest, ResealedSectionIsFoundByTheTablesDigest) {
  file_[kContents] ^= 1;
  SealFirstSection();
  EXPECT_TRUE(StateFile::Decode(file_));
  EXPECT_EQ(MessageOf(Open(file_, pinned_)), "another table");
}

}  // namespace
}  // namespace mayfly
