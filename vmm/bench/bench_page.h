#pragma once

#include <string>
#include <utility>
#include <vector>

#include "vmm/bench/restore_bench.h"

namespace mayfly {

// What is known of the machine that was measured: names and values, in the order of the page.
using MachineFacts = std::vector<std::pair<std::string, std::string>>;

// One HTML page that needs nothing from elsewhere: the table, a time line of the median restore of
// each row, and the distribution of each row's times. Chart.js, from Debian's libjs-chart.js, is in
// it.
std::string RestorePageHtml(const std::vector<RestoreRow>& rows, const MachineFacts& facts);

}  // namespace mayfly
