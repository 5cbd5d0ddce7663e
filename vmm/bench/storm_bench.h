#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

struct StormResult {
  uint32_t clones = 0;
  uint32_t threads = 0;
  double seconds = 0;            // For all of them, created and destroyed.
  double cpu_seconds = 0;        // Of this process meanwhile.
  std::vector<double> first_us;  // From the call to the first instruction, one for each.

  uint32_t alive = 0;                // So many lived at once.
  double private_kib_per_clone = 0;  // Of this process, without the guests' own pages.
  double guest_kib_per_clone = 0;    // The guests' own: what they, or we for them, have written.
  std::string bounded_by;            // Why no more than these.
};

// Creates `clones` machines of one snapshot, on `threads` threads, has each reach its first
// instruction and destroys it; then as many again that live all at once. 0 threads: three for two
// processors, because a machine's end waits for the kernel most of its time. `guest` is their ELF
// file, `directory` for the snapshot.
Result<StormResult> RunStormBench(const std::string& guest, const std::string& directory,
                                  uint32_t clones, uint32_t threads);

// As `mayfly bench storm` prints it.
std::string StormTable(const StormResult& result);
std::string StormJson(const StormResult& result);

}  // namespace mayfly
