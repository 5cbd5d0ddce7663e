#pragma once

#include <string>

namespace mayfly {

// The filter table for people, a line for each kind of thread and rule.
std::string FilterText();
// FilterCounts as a JSON object on one line.
std::string FilterCountsJson();

}  // namespace mayfly
