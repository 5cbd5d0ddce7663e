#include "vmm/memory/guest_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <numeric>
#include <vector>

#include "base/file.h"
#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kSize = 1ULL << 20;
constexpr uint64_t kPage = GuestMemory::kPageSize;

class GuestMemoryTest : public ::testing::Test {
 protected:
  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kSize);
};

// 3 GiB and a page: the page lies above the hole.
std::unique_ptr<GuestMemory> MemoryWithAHole() {
  return *GuestMemory::Create(GuestMemory::kHoleStart + kPage);
}

TEST_F(GuestMemoryTest, IsZeroAtFirst) {
  Bytes bytes(16, 0xff);
  ASSERT_TRUE(memory_->Read(GuestAddress{kSize - 16}, bytes));
  EXPECT_EQ(bytes, Bytes(16, 0));
}

TEST_F(GuestMemoryTest, ReadReturnsWhatWasWritten) {
  ASSERT_TRUE(memory_->Write(GuestAddress{0x1001}, Bytes{1, 2, 3}));
  uint16_t value = 0;
  ASSERT_TRUE(memory_->ReadValue(GuestAddress{0x1002}, &value));
  EXPECT_EQ(value, 0x0302);
}

TEST_F(GuestMemoryTest, ValuesAreLittleEndian) {
  ASSERT_TRUE(memory_->WriteValue(GuestAddress{0}, uint32_t{0x04030201}));
  Bytes bytes(4);
  ASSERT_TRUE(memory_->Read(GuestAddress{0}, bytes));
  EXPECT_EQ(bytes, (Bytes{1, 2, 3, 4}));
}

TEST_F(GuestMemoryTest, FillSetsExactlyTheRange) {
  ASSERT_TRUE(memory_->Fill(GuestAddress{1}, 0xaa, 2));
  Bytes bytes(4);
  ASSERT_TRUE(memory_->Read(GuestAddress{0}, bytes));
  EXPECT_EQ(bytes, (Bytes{0, 0xaa, 0xaa, 0}));
}

// Cases 4, 5 and 6, where they end.
TEST_F(GuestMemoryTest, RangesThatAreNotWhollyInMemoryAreRefused) {
  EXPECT_TRUE(memory_->Contains(GuestAddress{0}, kSize));
  EXPECT_TRUE(memory_->Contains(GuestAddress{kSize - 1}, 1));
  EXPECT_FALSE(memory_->Contains(GuestAddress{0}, kSize + 1));
  EXPECT_FALSE(memory_->Contains(GuestAddress{kSize - 1}, 2));
  EXPECT_FALSE(memory_->Contains(GuestAddress{kSize}, 1));
  EXPECT_FALSE(memory_->Contains(GuestAddress{UINT64_MAX}, 1));
  EXPECT_FALSE(memory_->Contains(GuestAddress{UINT64_MAX - 0xfff}, 0x2000));
  EXPECT_FALSE(memory_->Contains(GuestAddress{1}, UINT64_MAX));
}

TEST_F(GuestMemoryTest, AnEmptyRangeIsInMemoryUpToItsEnd) {
  EXPECT_TRUE(memory_->Contains(GuestAddress{kSize}, 0));
  EXPECT_FALSE(memory_->Contains(GuestAddress{kSize + 1}, 0));
}

TEST_F(GuestMemoryTest, RefusedAccessesCopyNothing) {
  Bytes bytes{1, 2};
  EXPECT_FALSE(memory_->Read(GuestAddress{kSize - 1}, bytes));
  EXPECT_EQ(bytes, (Bytes{1, 2}));
  EXPECT_FALSE(memory_->Write(GuestAddress{kSize - 1}, bytes));
  EXPECT_FALSE(memory_->Fill(GuestAddress{kSize - 1}, 7, 2));
  ASSERT_TRUE(memory_->Read(GuestAddress{kSize - 1}, std::span(bytes).first(1)));
  EXPECT_EQ(bytes[0], 0);
}

TEST_F(GuestMemoryTest, IndicesAreLoadedAndStoredWhole) {
  uint16_t value = 0;
  ASSERT_TRUE(memory_->StoreRelease16(GuestAddress{kSize - 2}, 0xbeef));
  ASSERT_TRUE(memory_->LoadAcquire16(GuestAddress{kSize - 2}, &value));
  EXPECT_EQ(value, 0xbeef);
}

TEST_F(GuestMemoryTest, IndicesAtOddAddressesOrOutsideAreRefused) {
  uint16_t value = 0;
  EXPECT_FALSE(memory_->LoadAcquire16(GuestAddress{1}, &value));
  EXPECT_FALSE(memory_->StoreRelease16(GuestAddress{1}, 0));
  EXPECT_FALSE(memory_->LoadAcquire16(GuestAddress{kSize}, &value));
  EXPECT_FALSE(memory_->StoreRelease16(GuestAddress{kSize}, 0));
}

TEST_F(GuestMemoryTest, IovecCoversTheRangeOrNothing) {
  const iovec good = memory_->Iovec(GuestAddress{kSize - 8}, 8);
  EXPECT_EQ(static_cast<uint8_t*>(good.iov_base), memory_->regions()[0].host + kSize - 8);
  EXPECT_EQ(good.iov_len, 8);
  EXPECT_EQ(memory_->Iovec(GuestAddress{kSize - 8}, 9).iov_base, nullptr);
}

TEST_F(GuestMemoryTest, AccessesToAPageThatIsGoneAreRefusedAndReported) {
  std::vector<uint64_t> lost;
  memory_->OnLost([&](GuestAddress address) { lost.push_back(address.value); });
  ::mprotect(memory_->regions()[0].host + kPage, kPage, PROT_NONE);
  Bytes bytes(4);
  uint16_t value = 0;
  EXPECT_FALSE(memory_->Read(GuestAddress{kPage}, bytes));
  EXPECT_FALSE(memory_->Write(GuestAddress{kPage + 4}, bytes));
  EXPECT_FALSE(memory_->Fill(GuestAddress{kPage + 8}, 1, 4));
  EXPECT_FALSE(memory_->LoadAcquire16(GuestAddress{kPage + 12}, &value));
  EXPECT_FALSE(memory_->StoreRelease16(GuestAddress{kPage + 14}, value));
  EXPECT_EQ(lost, (std::vector<uint64_t>{kPage, kPage + 4, kPage + 8, kPage + 12, kPage + 14}));
}

TEST(GuestMemoryLayoutTest, MemoryUpTo3GiBIsOneRegion) {
  const auto memory = *GuestMemory::Create(GuestMemory::kHoleStart);
  ASSERT_EQ(memory->regions().size(), 1);
  EXPECT_FALSE(memory->Contains(GuestAddress{GuestMemory::kHoleEnd}, 1));
}

TEST(GuestMemoryLayoutTest, TheRestLiesAbove4GiB) {
  const auto memory = MemoryWithAHole();
  ASSERT_EQ(memory->regions().size(), 2);
  EXPECT_EQ(memory->regions()[1].start, GuestAddress{GuestMemory::kHoleEnd});
  EXPECT_EQ(memory->regions()[1].size, kPage);
  ASSERT_TRUE(memory->WriteValue(GuestAddress{GuestMemory::kHoleEnd}, uint8_t{9}));
  EXPECT_EQ(memory->regions()[1].host[0], 9);
}

TEST(GuestMemoryLayoutTest, TheHoleIsNotMemory) {
  const auto memory = MemoryWithAHole();
  EXPECT_FALSE(memory->Contains(GuestAddress{GuestMemory::kHoleStart}, 1));
  EXPECT_FALSE(memory->Contains(GuestAddress{GuestMemory::kHoleEnd - 1}, 1));
  EXPECT_FALSE(memory->Contains(GuestAddress{GuestMemory::kHoleStart - 1}, 2));
  EXPECT_FALSE(memory->Contains(GuestAddress{GuestMemory::kHoleEnd - 1}, 2));
  EXPECT_FALSE(memory->Contains(GuestAddress{0}, memory->size()));
}

TEST(GuestMemoryLayoutTest, ImpossibleSizesAreRefused) {
  EXPECT_FALSE(GuestMemory::Create(0));
  EXPECT_FALSE(GuestMemory::Create(kPage + 1));
  EXPECT_FALSE(GuestMemory::Create(UINT64_MAX - kPage + 1));
}

// Memory that comes from a file whose byte n of every page p is p + n, modulo 256.
class MappedMemoryTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kPages = 64;

  MappedMemoryTest() {
    Bytes bytes(kPages * kPage);
    for (uint64_t page = 0; page < kPages; ++page) {
      std::iota(bytes.begin() + static_cast<ptrdiff_t>(page * kPage),
                bytes.begin() + static_cast<ptrdiff_t>((page + 1) * kPage),
                static_cast<uint8_t>(page));
    }
    scratch_.Write("memory", AsText(bytes));
    fd_ = *OpenFile(scratch_ / "memory", O_RDONLY);
    memory_ = *GuestMemory::MapPrivate(kPages * kPage, fd_.get());
  }

  [[nodiscard]] Bytes ReadPage(uint64_t page) const {
    Bytes bytes(kPage);
    EXPECT_TRUE(memory_->Read(GuestAddress{page * kPage}, bytes));
    return bytes;
  }
  static Bytes PageOfFile(uint64_t page) {
    Bytes bytes(kPage);
    std::iota(bytes.begin(), bytes.end(), static_cast<uint8_t>(page));
    return bytes;
  }

  Scratch scratch_;
  UniqueFd fd_;
  std::unique_ptr<GuestMemory> memory_;
};

TEST_F(MappedMemoryTest, HoldsTheFilesContents) {
  EXPECT_EQ(ReadPage(0), PageOfFile(0));
  EXPECT_EQ(ReadPage(kPages - 1), PageOfFile(kPages - 1));
}

TEST_F(MappedMemoryTest, WritesStayInTheMemory) {
  const auto other = *GuestMemory::MapPrivate(kPages * kPage, fd_.get());
  ASSERT_TRUE(memory_->Fill(GuestAddress{kPage}, 0xff, kPage));
  EXPECT_EQ(ReadPage(1), Bytes(kPage, 0xff));
  uint8_t byte = 0;
  ASSERT_TRUE(other->ReadValue(GuestAddress{kPage}, &byte));
  EXPECT_EQ(byte, 1);
  EXPECT_EQ(scratch_.Read("memory")[kPage], 1);
}

// MADV_DONTNEED would bring the file's contents back, which the guest has long given up.
TEST_F(MappedMemoryTest, DiscardedPagesReadAsZeros) {
  ASSERT_TRUE(memory_->Fill(GuestAddress{kPage}, 0xff, kPage));
  ASSERT_TRUE(memory_->Discard(GuestAddress{kPage}, 2 * kPage));
  EXPECT_EQ(ReadPage(0), PageOfFile(0));
  EXPECT_EQ(ReadPage(1), Bytes(kPage, 0));
  EXPECT_EQ(ReadPage(2), Bytes(kPage, 0));
  EXPECT_EQ(ReadPage(3), PageOfFile(3));
}

TEST_F(MappedMemoryTest, DiscardedPagesCanBeWrittenAndDiscardedAgain) {
  ASSERT_TRUE(memory_->Discard(GuestAddress{kPage}, kPage));
  ASSERT_TRUE(memory_->Fill(GuestAddress{kPage}, 0xff, kPage));
  EXPECT_EQ(ReadPage(1), Bytes(kPage, 0xff));
  ASSERT_TRUE(memory_->Discard(GuestAddress{kPage}, kPage));
  EXPECT_EQ(ReadPage(1), Bytes(kPage, 0));
}

TEST_F(MappedMemoryTest, OnlyWholePagesAreDiscarded) {
  ASSERT_TRUE(memory_->Discard(GuestAddress{kPage - 1}, kPage + 2));
  EXPECT_EQ(ReadPage(0), PageOfFile(0));
  EXPECT_EQ(ReadPage(1), Bytes(kPage, 0));
  EXPECT_EQ(ReadPage(2), PageOfFile(2));
}

// A guest that discards every other page, again and again, would use up the process's mappings.
TEST_F(MappedMemoryTest, DiscardsBeyondTheCapStillReadAsZeros) {
  constexpr int kMoreThanTheCap = 9000;
  for (int i = 0; i < kMoreThanTheCap; ++i) {
    ASSERT_TRUE(memory_->Discard(GuestAddress{2 * kPage}, kPage));
  }
  ASSERT_TRUE(memory_->Discard(GuestAddress{5 * kPage}, kPage));
  EXPECT_EQ(ReadPage(5), Bytes(kPage, 0));
  EXPECT_EQ(ReadPage(4), PageOfFile(4));
  EXPECT_EQ(ReadPage(6), PageOfFile(6));
}

TEST_F(MappedMemoryTest, AllOfItMayBeAnythingButZero) {
  ASSERT_TRUE(memory_->Discard(GuestAddress{0}, kPage));
  EXPECT_EQ(*memory_->PopulatedRanges(memory_->regions()[0]),
            (std::vector<PageRange>{{0, kPages * kPage}}));
}

TEST_F(MappedMemoryTest, ChangedRangesAreThePagesThatWereWrittenOrDiscarded) {
  const MemoryRegion& region = memory_->regions()[0];
  EXPECT_EQ(*memory_->ChangedRanges(region), std::vector<PageRange>{});
  EXPECT_EQ(ReadPage(1), PageOfFile(1));
  ASSERT_TRUE(memory_->Fill(GuestAddress{3 * kPage + 5}, 1, 1));
  ASSERT_TRUE(memory_->Discard(GuestAddress{4 * kPage}, 2 * kPage));
  ASSERT_TRUE(memory_->Discard(GuestAddress{5 * kPage}, 2 * kPage));
  ASSERT_TRUE(memory_->Fill(GuestAddress{9 * kPage}, 0, kPage));
  EXPECT_EQ(*memory_->ChangedRanges(region),
            (std::vector<PageRange>{{3 * kPage, 7 * kPage}, {9 * kPage, 10 * kPage}}));
}

TEST_F(MappedMemoryTest, OlderKernelsFindTheSamePages) {
  const MemoryRegion& region = memory_->regions()[0];
  EXPECT_EQ(ReadPage(1), PageOfFile(1));
  ASSERT_TRUE(memory_->Fill(GuestAddress{3 * kPage}, 1, 2 * kPage));
  const std::vector<PageRange> written{{3 * kPage, 5 * kPage}};
  EXPECT_EQ(*ScanPages(region.host, region.size, PageKind::kPrivate), written);
  EXPECT_EQ(*ReadPagemap(region.host, region.size, PageKind::kPrivate), written);
  EXPECT_EQ(*ScanPages(region.host, region.size, PageKind::kPopulated),
            *ReadPagemap(region.host, region.size, PageKind::kPopulated));
}

TEST_F(MappedMemoryTest, AnotherFileCanLieOverSomePages) {
  scratch_.Write("over", std::string(4 * kPage, 'o'));
  const UniqueFd over = *OpenFile(scratch_ / "over", O_RDONLY);
  ASSERT_TRUE(memory_->MapOver(GuestAddress{2 * kPage}, 2 * kPage, over.get(), kPage));
  EXPECT_EQ(ReadPage(1), PageOfFile(1));
  EXPECT_EQ(ReadPage(2), Bytes(kPage, 'o'));
  EXPECT_EQ(ReadPage(4), PageOfFile(4));
  ASSERT_TRUE(memory_->Fill(GuestAddress{3 * kPage}, 'x', kPage));
  EXPECT_EQ(scratch_.Read("over"), std::string(4 * kPage, 'o'));
  EXPECT_EQ(*memory_->ChangedRanges(memory_->regions()[0]),
            (std::vector<PageRange>{{3 * kPage, 4 * kPage}}));
}

TEST_F(MappedMemoryTest, RegionsFollowOneAnotherInTheFile) {
  constexpr uint64_t kSizeWithHole = GuestMemory::kHoleStart + kPage;
  const UniqueFd fd = *OpenFile(scratch_ / "large", O_RDWR | O_CREAT);
  ASSERT_EQ(::ftruncate(fd.get(), kSizeWithHole), 0);
  ASSERT_EQ(::pwrite(fd.get(), "x", 1, GuestMemory::kHoleStart), 1);
  const auto memory = *GuestMemory::MapPrivate(kSizeWithHole, fd.get());
  char first = 0;
  ASSERT_TRUE(memory->ReadValue(GuestAddress{GuestMemory::kHoleEnd}, &first));
  EXPECT_EQ(first, 'x');
}

// A page that a pager has not filled yet would come back with what the pager has for it.
TEST_F(GuestMemoryTest, DiscardedPagesOfPagedMemoryReadAsZeros) {
  memory_->SetFilledOnTouch();
  ASSERT_TRUE(memory_->Fill(GuestAddress{0}, 0xff, 2 * kPage));
  ASSERT_TRUE(memory_->Discard(GuestAddress{0}, kPage));
  Bytes bytes(2, 0xee);
  ASSERT_TRUE(memory_->Read(GuestAddress{kPage - 1}, bytes));
  EXPECT_EQ(bytes, (Bytes{0, 0xff}));
}

TEST_F(GuestMemoryTest, PopulatedRangesAreThePagesThatWereTouched) {
  const auto memory = *GuestMemory::Create(kSize);
  EXPECT_EQ(*memory->PopulatedRanges(memory->regions()[0]), std::vector<PageRange>{});
  ASSERT_TRUE(memory->Fill(GuestAddress{3 * kPage}, 1, 2 * kPage));
  ASSERT_TRUE(memory->Fill(GuestAddress{kSize - 1}, 0, 1));
  EXPECT_EQ(*memory->PopulatedRanges(memory->regions()[0]),
            (std::vector<PageRange>{{3 * kPage, 5 * kPage}, {kSize - kPage, kSize}}));
}

TEST_F(GuestMemoryTest, WithoutSomethingThatFillsItAllOfItMayHaveChanged) {
  EXPECT_EQ(*memory_->ChangedRanges(memory_->regions()[0]), (std::vector<PageRange>{{0, kSize}}));
}

TEST_F(GuestMemoryTest, ARangeIsZeroIfAllOfItIs) {
  ASSERT_TRUE(memory_->Fill(GuestAddress{2 * kPage - 1}, 1, 1));
  EXPECT_TRUE(memory_->IsZero(GuestAddress{0}, kPage));
  EXPECT_FALSE(memory_->IsZero(GuestAddress{kPage}, kPage));
  EXPECT_TRUE(memory_->IsZero(GuestAddress{0}, 0));
  EXPECT_FALSE(memory_->IsZero(GuestAddress{kSize}, kPage));
}

TEST_F(GuestMemoryTest, DiscardedPagesAreNotPopulated) {
  ASSERT_TRUE(memory_->Fill(GuestAddress{0}, 1, 3 * kPage));
  ASSERT_TRUE(memory_->Discard(GuestAddress{kPage}, kPage));
  EXPECT_EQ(*memory_->PopulatedRanges(memory_->regions()[0]),
            (std::vector<PageRange>{{0, kPage}, {2 * kPage, 3 * kPage}}));
}

TEST_F(GuestMemoryTest, PopulatedPagesNeedNoTouch) {
  EXPECT_TRUE(memory_->Populate(GuestAddress{kPage}, kPage, true));
  EXPECT_EQ(*memory_->PopulatedRanges(memory_->regions()[0]),
            (std::vector<PageRange>{{kPage, 2 * kPage}}));
  EXPECT_FALSE(memory_->Populate(GuestAddress{kSize}, kPage, true));
}

}  // namespace
}  // namespace mayfly
