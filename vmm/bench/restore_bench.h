#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/restored_memory.h"

namespace mayfly {

// What one row of the table measures.
struct RestoreCase {
  uint32_t memory_mib = 256;
  MemoryWay way = MemoryWay::kMap;
  uint32_t working_set_mib = 24;
  // Whether the working set is filled ahead; else each page waits for its fault.
  bool ahead = true;
  // What a pager fills around a fault; MemoryWay::kUffd only.
  uint64_t run_bytes = uint64_t{64} * 1024;
};

// Where the time to the guest's first instruction went, in microseconds, one behind the other.
struct RestorePhases {
  double open_us = 0;     // The snapshot's files: opened, compared with their digests, parsed.
  double memory_us = 0;   // Guest memory is there to be touched.
  double machine_us = 0;  // The machine, in KVM and here, has its state.
  double life_us = 0;     // Fresh entropy and the clock are in the restore page; the threads go on.
  double entry_us = 0;    // The guest's first doorbell.
};

// The times of one row, in microseconds, one of each kind for each run. All of them begin with the
// call that restores.
struct RestoreRow {
  RestoreCase what;
  std::vector<double> floor_us;              // To the guest's first doorbell, bare ioctls.
  std::vector<double> first_instruction_us;  // The same through mayfly.
  std::vector<double> working_set_floor_us;  // Bare ioctls and a bulk fill, to its last page.
  std::vector<double> working_set_us;        // The same through mayfly.
  std::vector<double> faults;                // That the pager answered in a run.
  std::vector<RestorePhases> phases;         // Of first_instruction_us.
};

struct RestoreBenchOptions {
  std::string guest;      // The guest's ELF file.
  std::string directory;  // For snapshots; as large as the memories' contents.
  uint32_t runs = 200;
  std::function<void(const RestoreRow&)> on_row;
};

// Restores a small guest of our own again and again, in this process, with one vCPU, floor and
// mayfly taking turns. The page cache is warm: the snapshot was just written, and one run of each
// is not counted. Tearing machines down is not counted either.
Result<std::vector<RestoreRow>> RunRestoreBench(const std::vector<RestoreCase>& cases,
                                                const RestoreBenchOptions& options);

}  // namespace mayfly
