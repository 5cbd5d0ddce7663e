#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

// Microseconds from the call to the guest's first instruction, one of each kind for each run.
struct ShellTimes {
  std::vector<double> pooled_floor_us;  // In a shell, by bare system calls on one thread.
  std::vector<double> pooled_us;        // In a shell, through mayfly.
  std::vector<double> unpooled_us;      // From scratch, through mayfly.
  std::vector<double> jailed_us;        // In a process of its own, by a zygote in a jail.
};

// Restores a small guest again and again, from a snapshot that stays open; the four take turns, and
// one run of each is not counted. Shells are made, and machines torn down, between what is
// measured. `guest` is its ELF file, `directory` for the snapshot.
Result<ShellTimes> RunShellBench(const std::string& guest, const std::string& directory,
                                 uint32_t runs);

// As `mayfly bench shells` prints it.
std::string ShellTable(const ShellTimes& times);
std::string ShellJson(const ShellTimes& times);

}  // namespace mayfly
