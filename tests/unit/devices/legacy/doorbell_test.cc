#include "devices/legacy/doorbell.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/restore_page.h"
#include "tests/unit/devices/legacy/bus_access.h"

namespace mayfly {
namespace {

class DoorbellTest : public ::testing::Test {
 protected:
  DoorbellTest() {
    device_.OnRung([this] { ++rings_; });
    device_.OnMark([this](uint32_t mark) { marks_.push_back(mark); });
    device_.OnDiscard(
        [this](uint32_t page, uint32_t count) { discarded_.emplace_back(page, count); });
  }

  Doorbell device_;
  int rings_ = 0;
  std::vector<uint32_t> marks_;
  std::vector<std::pair<uint32_t, uint32_t>> discarded_;
};

TEST_F(DoorbellTest, ReadyRingsBeforeTheWriteReturns) {
  Write32(device_, 0, kDoorbellReady);
  EXPECT_EQ(rings_, 1);
  Write32(device_, 0, kDoorbellReady);
  EXPECT_EQ(rings_, 2);
}

TEST_F(DoorbellTest, OtherValuesAreMarks) {
  Write32(device_, 0, 0);
  Write32(device_, 0, kDoorbellReady << 8);
  Write32(device_, 0, UINT32_MAX);
  EXPECT_EQ(rings_, 0);
  EXPECT_EQ(marks_, (std::vector<uint32_t>{0, kDoorbellReady << 8, UINT32_MAX}));
}

TEST_F(DoorbellTest, PagesThatNobodyNeedsAreNoRings) {
  Write64(device_, kDoorbellDiscard, kDoorbellReady);
  Write64(device_, kDoorbellDiscard, uint64_t{kDoorbellMostPages} << 32 | UINT32_MAX);
  EXPECT_EQ(discarded_, (std::vector<std::pair<uint32_t, uint32_t>>{
                            {kDoorbellReady, 0}, {UINT32_MAX, kDoorbellMostPages}}));
  EXPECT_EQ(rings_, 0);
  EXPECT_TRUE(marks_.empty());
}

TEST_F(DoorbellTest, TooManyPagesAtATimeAreLeftAlone) {
  Write64(device_, kDoorbellDiscard, uint64_t{kDoorbellMostPages + 1} << 32);
  Write64(device_, kDoorbellDiscard, UINT64_MAX);
  EXPECT_TRUE(discarded_.empty());
}

TEST_F(DoorbellTest, OtherAccessesAreIgnored) {
  Write8(device_, kDoorbellDiscard, 1);
  Write32(device_, kDoorbellDiscard, 1);
  Write64(device_, kDoorbellRing, kDoorbellReady);
  device_.Write(2, Bytes{1, 0, 0, 0});
  Write8(device_, 0, kDoorbellReady);
  device_.Write(0, Bytes{kDoorbellReady, 0});
  device_.Write(0, Bytes{kDoorbellReady, 0, 0, 0, 0, 0, 0, 0});
  device_.Write(1, Bytes{kDoorbellReady, 0, 0, 0});
  EXPECT_EQ(rings_, 0);
  EXPECT_TRUE(marks_.empty());
  EXPECT_TRUE(discarded_.empty());
}

TEST_F(DoorbellTest, ReadsAreZero) { EXPECT_EQ(Read32(device_, 0), 0u); }

TEST(DoorbellWithoutAListenerTest, RingsAndMarksAreIgnored) {
  Doorbell device;
  Write32(device, 0, kDoorbellReady);
  Write32(device, 0, kDoorbellDone);
  Write64(device, kDoorbellDiscard, 1ULL << 32);
}

}  // namespace
}  // namespace mayfly
