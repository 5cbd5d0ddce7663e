#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

// What one row of the table measures: a guest that reads `pages` pages that are not there yet.
struct FaultCase {
  // Each page in a piece of 64 KiB of its own, in a random order; else one behind the other.
  bool random = false;
  // What is filled around a fault, aligned.
  uint64_t run_bytes = 4096;
  uint32_t pages = 2048;  // A power of two.
};

// Microseconds for each page that the guest reads, from its first instruction to the last of them;
// one value of each kind for each run.
struct FaultRow {
  FaultCase what;
  std::vector<double> floor_us;  // A bare loop of poll, read and UFFDIO_COPY answers.
  std::vector<double> pager_us;  // mayfly's pager does.
  std::vector<double> faults;    // Of the pager's, in a run.
};

struct FaultBenchOptions {
  std::string guest;      // The guest's ELF file.
  std::string directory;  // For snapshots.
  uint32_t runs = 200;
  std::function<void(const FaultRow&)> on_row;
};

// Restores a small guest again and again, in this process, with one vCPU and with memory that is
// filled by page faults alone; the bare loop and mayfly take turns. The page cache is warm, and one
// run of each is not counted.
Result<std::vector<FaultRow>> RunFaultBench(const std::vector<FaultCase>& cases,
                                            const FaultBenchOptions& options);

}  // namespace mayfly
