#include "snapshot/page_runs.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

constexpr uint64_t kMemoryPages = 256;

PageRuns Sample() { return {{{3, 1}, {16, 2}, {255, 1}}}; }

Result<PageRuns> Decode(std::span<const uint8_t> bytes) {
  return PageRuns::Decode(bytes, kMemoryPages);
}

Result<PageRuns> Survivor(const PageRuns& pages) { return Decode(*pages.Encode()); }

TEST(PageRunsTest, ConsecutivePagesJoinOneRun) {
  PageRuns pages;
  pages.Add(7);
  pages.Add(8);
  pages.Add(10);
  EXPECT_EQ(pages.runs, (std::vector<PageRun>{{7, 2}, {10, 1}}));
  EXPECT_EQ(pages.pages(), 3u);
}

TEST(PageRunsTest, SurvivesItsFile) {
  EXPECT_EQ(*Survivor(Sample()), Sample());
  EXPECT_EQ(*Survivor(PageRuns{}), PageRuns{});
}

TEST(PageRunsTest, EveryTruncationIsRefused) {
  const std::vector<uint8_t> file = *Sample().Encode();
  for (size_t size = 0; size < file.size(); ++size) {
    ASSERT_EQ(CodeOf(Decode(std::span(file).first(size))), ErrorCode::kCorrupt) << size;
  }
}

TEST(PageRunsTest, BytesBehindItAreRefused) {
  std::vector<uint8_t> file = *Sample().Encode();
  file.push_back(0);
  EXPECT_EQ(CodeOf(Decode(file)), ErrorCode::kCorrupt);
}

TEST(PageRunsTest, RunsThatMeetOverlapOrGoBackAreRefused) {
  EXPECT_EQ(CodeOf(Survivor({{{3, 2}, {5, 1}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({{{3, 2}, {4, 1}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({{{9, 1}, {3, 1}}})), ErrorCode::kCorrupt);
}

TEST(PageRunsTest, RunsOutsideOfTheMemoryAreRefused) {
  EXPECT_EQ(CodeOf(Survivor({{{255, 2}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({{{256, 1}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({{{1, UINT32_MAX}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({{{1, 0}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(PageRuns::Decode(*PageRuns{{{UINT32_MAX, 1}}}.Encode(), 1ULL << 34)),
            std::nullopt);
}

}  // namespace
}  // namespace mayfly
