#include "vmm/memory/guest_memory.h"

#include <gtest/gtest.h>

#include <vector>

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

}  // namespace
}  // namespace mayfly
