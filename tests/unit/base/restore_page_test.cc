#include "base/restore_page.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

constexpr uint64_t kStart = 1'700'000'000'000'000'000;

RestorePage PageAt(uint64_t tsc, uint32_t tsc_khz) {
  RestorePage page{};
  page.wall_clock_ns = kStart;
  page.tsc = tsc;
  page.tsc_khz = tsc_khz;
  return page;
}

TEST(RestorePageTest, TheWallClockGoesOnWithTheCounter) {
  const RestorePage page = PageAt(5'000, 2'500'000);
  EXPECT_EQ(page.WallClockAt(5'000), kStart);
  EXPECT_EQ(page.WallClockAt(7'500), kStart + 1'000);
  EXPECT_EQ(page.WallClockAt(5'000 + 2'500'000'000), kStart + 1'000'000'000);
}

TEST(RestorePageTest, LongWaitsDoNotOverflow) {
  constexpr uint64_t kHour = 3'600'000;  // In milliseconds.
  const RestorePage page = PageAt(0, 5'000'001);
  EXPECT_EQ(page.WallClockAt(kHour * 5'000'001), kStart + kHour * 1'000'000);
}

TEST(RestorePageTest, ACounterThatIsNotThePagesChangesNothing) {
  const RestorePage page = PageAt(1'000'000, 2'500'000);
  EXPECT_EQ(page.WallClockAt(999'999), kStart);
  EXPECT_EQ(page.WallClockAt(1ULL << 63), kStart);
  EXPECT_EQ(PageAt(0, 0).WallClockAt(1'000), kStart);
}

}  // namespace
}  // namespace mayfly
