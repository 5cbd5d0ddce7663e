#include "jailer/report_filters.h"

#include <fmt/format.h>

#include <iterator>

#include "jailer/filter_table.h"

namespace mayfly {
namespace {

std::string ConditionsOf(const FilterRule& rule) {
  std::string text;
  for (const ArgumentCheck& check : rule.used_checks()) {
    text += fmt::format("{}arg{} & {:#x} == {:#x}", text.empty() ? "" : ", ", check.argument,
                        check.mask, check.value);
  }
  return text.empty() ? "any" : text;
}

}  // namespace

std::string FilterText() {
  std::string text;
  for (const ThreadKind kind : kThreadKinds) {
    for (const FilterRule& rule : FilterTable()) {
      if (!rule.AppliesTo(kind)) continue;
      fmt::format_to(std::back_inserter(text), "{:<10} {:<15} {:<60} {}\n", NameOf(kind), rule.name,
                     ConditionsOf(rule), rule.why);
    }
  }
  return text;
}

std::string FilterCountsJson() {
  const FilterCounts counts = CountFilters();
  return fmt::format(R"({{"vcpu":{},"io":{},"pager":{},"union":{},"rules":{},"path":{}}})"
                     "\n",
                     counts.vcpu, counts.io, counts.pager, counts.all, counts.rules, counts.path);
}

}  // namespace mayfly
