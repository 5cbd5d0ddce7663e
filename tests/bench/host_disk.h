#pragma once

#include <string>

#include "base/result.h"
#include "tests/bench/measurement.h"

namespace mayfly {

struct DiskLoad {
  uint32_t size = 4096;
  unsigned depth = 1;
  bool sequential = false;
  bool write = false;
};

// What a plain program gets from the file through an io_uring: `depth` requests are in flight, and
// those that are done are replaced with one system call.
Result<Measurement> MeasureDisk(const std::string& path, const DiskLoad& load, double seconds);

}  // namespace mayfly
