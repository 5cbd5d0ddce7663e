#include "tests/bench/measurement.h"

#include <algorithm>

namespace mayfly {

void Series::Add(Measurement run) {
  rates_.push_back(static_cast<double>(run.operations) / run.seconds);
  bandwidths_.push_back(static_cast<double>(run.bytes) / run.seconds);
  if (run.kicks) kicks_.push_back(*run.kicks);
  microseconds_.insert(microseconds_.end(), run.microseconds.begin(), run.microseconds.end());
}

double Series::latency(double share) const {
  if (microseconds_.empty()) return 0;
  std::vector<double> sorted = microseconds_;
  const auto at =
      sorted.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(sorted.size() - 1));
  std::ranges::nth_element(sorted, at);
  return *at;
}

double Series::Median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace mayfly
