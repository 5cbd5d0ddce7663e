#pragma once

#include <string>

#include "base/result.h"
#include "tests/bench/measurement.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// Runs the bench guest (tests/integration/guests/bench.c) on this host's KVM.
class BenchMachine {
 public:
  static constexpr uint64_t kMemory = 256ULL << 20;

  // Finds out how fast the time stamp counter runs.
  BenchMachine();

  // One measurement of `seconds` in a machine with the devices of `config`. The guest's part is
  // `part`, its other numbers are `numbers`.
  Result<Measurement> Run(MachineConfig config, const std::string& part, double seconds,
                          const std::string& numbers = "") const;

 private:
  double ticks_per_microsecond_;
};

}  // namespace mayfly
