#pragma once

#include <stdint.h>

// What the bench guest and the program that runs it (tests/bench) agree on; both C and C++.

// Where the guest leaves what it has measured.
#define BENCH_RESULT 0x4000000
#define BENCH_MOST_SAMPLES 1000000

struct bench_result {
  uint64_t ticks;       // From the first to the last operation, as rdtsc counts
  uint64_t operations;  // In that time
  uint64_t bytes;
  uint64_t all_operations;  // Those of the warm-up too, for what the host counts
  uint64_t samples_count;
  uint32_t samples[BENCH_MOST_SAMPLES];  // Each operation's ticks
};
