#include "snapshot/working_set.h"

#include <gtest/gtest.h>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kMemoryPages = 256;

WorkingSet Sample() { return {1, {{16, 2, true}, {3, 1, false}, {255, 1, false}}}; }

Result<WorkingSet> Decode(std::span<const uint8_t> bytes) {
  return WorkingSet::Decode(bytes, kMemoryPages);
}

Result<WorkingSet> Survivor(const WorkingSet& set) { return Decode(set.Encode()); }

TEST(WorkingSetTest, ConsecutivePagesJoinOneRun) {
  WorkingSet set;
  set.Add(7, false);
  set.Add(8, false);
  set.Add(9, true);
  set.Add(4, true);
  EXPECT_EQ(set.runs, (std::vector<WorkingSetRun>{{7, 2, false}, {9, 1, true}, {4, 1, true}}));
  EXPECT_EQ(set.pages(), 4u);
}

TEST(WorkingSetTest, WhatHalfOfTheRecordsHaveIsCommon) {
  const std::vector<WorkingSet> records{{0, {{7, 2, false}, {3, 1, true}}},
                                        {0, {{20, 1, false}, {8, 1, true}}},
                                        {0, {{3, 1, false}, {7, 1, false}}},
                                        {0, {{30, 1, false}}}};
  const WorkingSet common = WorkingSet::Common(records, WorkingSet{0, {{100, 2, false}}});
  EXPECT_EQ(common.runs, (std::vector<WorkingSetRun>{
                             {7, 1, false}, {8, 1, true}, {3, 1, true}, {100, 2, false}}));
  EXPECT_EQ(common.first_stage, 2u);
}

TEST(WorkingSetTest, SurvivesItsFile) { EXPECT_EQ(*Survivor(Sample()), Sample()); }

TEST(WorkingSetTest, EmptyOneSurvives) { EXPECT_EQ(*Survivor(WorkingSet{}), WorkingSet{}); }

TEST(WorkingSetTest, EveryTruncationIsRefused) {
  const Bytes file = Sample().Encode();
  for (size_t size = 0; size < file.size(); ++size) {
    ASSERT_EQ(CodeOf(Decode(std::span(file).first(size))), ErrorCode::kCorrupt) << size;
  }
}

TEST(WorkingSetTest, EverySingleBitFlipIsRefused) {
  Bytes file = Sample().Encode();
  for (size_t bit = 0; bit < file.size() * 8; ++bit) {
    file[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
    ASSERT_EQ(CodeOf(Decode(file)), ErrorCode::kCorrupt) << "bit " << bit;
    file[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
  }
}

TEST(WorkingSetTest, RunsOutsideTheMemoryAreRefused) {
  EXPECT_TRUE(Survivor({0, {{0, 256, false}}}));
  EXPECT_EQ(MessageOf(Survivor({0, {{256, 1, false}}})),
            "runs: 1 pages at 256, the memory has 256");
  EXPECT_EQ(CodeOf(Survivor({0, {{255, 2, false}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({0, {{1, UINT32_MAX, false}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({0, {{UINT32_MAX, 1, false}}})), ErrorCode::kCorrupt);
  EXPECT_EQ(CodeOf(Survivor({0, {{1, 0, false}}})), ErrorCode::kCorrupt);
}

TEST(WorkingSetTest, FirstStageOfMoreRunsThanThereAreIsRefused) {
  EXPECT_TRUE(Survivor({1, {{0, 1, false}}}));
  EXPECT_EQ(MessageOf(Survivor({2, {{0, 1, false}}})), "first_stage: 2 of 1 runs");
}

}  // namespace
}  // namespace mayfly
