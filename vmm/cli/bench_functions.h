#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/cli/options.h"

namespace mayfly {

// A stage of a boot or of an answer from a snapshot, and how long it took in each run.
struct BenchStage {
  std::string key;  // In JSON; its name in the table is without the "_us".
  std::vector<double> microseconds;
};

// What was done the same way in each run.
struct FunctionBenchRow {
  std::string way;  // How memory is filled; empty: the machine was booted.
  std::vector<BenchStage> stages;
};

// Boots the function `runs` times, after once that does not count. The first error ends it.
Result<FunctionBenchRow> MeasureBoots(const RunOptions& options, uint32_t runs);

// Restores it in each of `ways` in turns, and invokes it once each time.
Result<std::vector<FunctionBenchRow>> MeasureAnswers(const RestoreOptions& options,
                                                     const std::vector<FillMemory>& ways,
                                                     uint32_t runs);

// Medians, 90th and 99th percentiles: docs/bench.md.
std::string FunctionBenchTable(const std::vector<FunctionBenchRow>& rows);
std::string FunctionBenchJson(const std::vector<FunctionBenchRow>& rows, uint32_t runs);

}  // namespace mayfly
