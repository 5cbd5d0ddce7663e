#include "jailer/filter_table.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/json.h"
#include "jailer/report_filters.h"

namespace mayfly {
namespace {

TEST(FilterTableTest, StaysSmall) {
  const FilterCounts counts = CountFilters();
  EXPECT_LE(counts.vcpu, 8U);
  EXPECT_LE(counts.io, 20U);
  EXPECT_LE(counts.pager, 12U);
  EXPECT_LE(counts.all, 28U);
  EXPECT_LE(counts.rules, 70U);
}

TEST(FilterTableTest, HasNoSystemCallThatTakesAPath) { EXPECT_EQ(CountFilters().path, 0U); }

TEST(FilterTableTest, EveryRuleSaysWhatItIsFor) {
  EXPECT_TRUE(std::ranges::all_of(FilterTable(), [](const FilterRule& rule) {
    return rule.kinds != 0 && !rule.name.empty() && !rule.why.empty();
  }));
}

TEST(FilterTableTest, NobodyMapsMemoryThatCanBeExecuted) {
  EXPECT_TRUE(std::ranges::all_of(FilterTable(), [](const FilterRule& rule) {
    if (rule.number != SYS_mmap) return rule.number != SYS_mprotect;
    const ArgumentCheck& protection = rule.checks[0];
    return protection.argument == 2 && protection.mask == ~uint64_t{0} && protection.value <= 3;
  }));
}

TEST(FilterTableTest, CountsComeAsJsonWithTheseKeysAlone) {
  const auto document =
      JsonDocument::Parse(FilterCountsJson(), "counts", ErrorCode::kCorrupt).value();
  const JsonObject counts = document.root().AsObject().value();
  EXPECT_TRUE(counts.RefuseKeysOtherThan({"vcpu", "io", "pager", "union", "rules", "path"}));
  EXPECT_EQ(counts.Require("union").value().AsInteger(0, 100).value(), CountFilters().all);
  EXPECT_EQ(counts.Members().size(), 6U);
}

TEST(FilterTableTest, TextHasALineForEachRuleOfEachKind) {
  EXPECT_EQ(std::ranges::count(FilterText(), '\n'), static_cast<ptrdiff_t>(CountFilters().rules));
}

}  // namespace
}  // namespace mayfly
