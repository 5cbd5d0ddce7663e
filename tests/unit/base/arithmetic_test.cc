#include "base/arithmetic.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace mayfly {
namespace {

TEST(ArithmeticTest, CheckedAddRefusesToWrap) {
  EXPECT_EQ(CheckedAdd<uint64_t>(1, 2), 3);
  EXPECT_EQ(CheckedAdd<uint64_t>(UINT64_MAX - 1, 1), UINT64_MAX);
  EXPECT_FALSE(CheckedAdd<uint64_t>(UINT64_MAX, 1));
  EXPECT_FALSE(CheckedAdd<uint16_t>(0xffff, 1));
}

TEST(ArithmeticTest, CheckedMulRefusesToWrap) {
  EXPECT_EQ(CheckedMul<uint32_t>(0x8000, 0x1'0000), 0x8000'0000);
  EXPECT_FALSE(CheckedMul<uint32_t>(0x1'0000, 0x1'0000));
  EXPECT_FALSE(CheckedMul<uint64_t>(1ULL << 55, 512));
}

TEST(ArithmeticTest, RangeFitsUpToTheEnd) {
  EXPECT_TRUE(RangeFits<uint64_t>(0, 10, 10));
  EXPECT_TRUE(RangeFits<uint64_t>(9, 1, 10));
  EXPECT_TRUE(RangeFits<uint64_t>(10, 0, 10));
  EXPECT_FALSE(RangeFits<uint64_t>(9, 2, 10));
  EXPECT_FALSE(RangeFits<uint64_t>(11, 0, 10));
}

TEST(ArithmeticTest, RangeFitsDoesNotWrap) {
  EXPECT_FALSE(RangeFits<uint64_t>(1, UINT64_MAX, 10));
  EXPECT_FALSE(RangeFits<uint64_t>(UINT64_MAX, 2, 10));
}

TEST(ArithmeticTest, AlignsToPowersOfTwo) {
  EXPECT_EQ(AlignDown<uint64_t>(4097, 4096), 4096);
  EXPECT_EQ(AlignUp<uint64_t>(4097, 4096), 8192);
  EXPECT_EQ(AlignUp<uint64_t>(4096, 4096), 4096);
  EXPECT_TRUE(IsAligned<uint64_t>(4096, 4096));
  EXPECT_FALSE(IsAligned<uint64_t>(4098, 4));
}

}  // namespace
}  // namespace mayfly
