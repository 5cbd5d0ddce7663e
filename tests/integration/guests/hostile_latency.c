// How long an honest guest waits, for a measurement beside a hostile one.
#include "hostile.h"

#define MOST_SAMPLES 4096

static uint32_t samples[MOST_SAMPLES];

static uint64_t time_stamp(void) {
  uint32_t low;
  uint32_t high;
  __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
  return (uint64_t)high << 32 | low;
}

static void sort(uint32_t* values, uint32_t count) {
  for (uint32_t gap = count / 2; gap > 0; gap /= 2) {
    for (uint32_t i = gap; i < count; ++i) {
      for (uint32_t j = i; j >= gap && values[j - gap] > values[j]; j -= gap) {
        const uint32_t value = values[j];
        values[j] = values[j - gap];
        values[j - gap] = value;
      }
    }
  }
}

// Prints the median and the 99th percentile of as many requests as the command line says, in ticks
// of the time stamp counter.
static void latency(struct target* target) {
  const uint32_t count = case_number < MOST_SAMPLES ? case_number : MOST_SAMPLES;
  for (uint32_t i = 0; i < count; ++i) {
    const uint64_t before = time_stamp();
    target->exchange(target);
    samples[i] = (uint32_t)(time_stamp() - before);
  }
  sort(samples, count);
  print("ticks ");
  print_hex(samples[count / 2]);
  print(" ");
  print_hex(samples[count - count / 100 - 1]);
  print("\n");
}

// Nothing but kicks, or nothing but computing, until the machine is stopped.
static void storm(struct target* target) {
  print("storm\n");
  for (;;) kick(target);
}

static void compute(struct target* target) {
  (void)target;
  print("storm\n");
  for (;;) {
  }
}

const struct hostile_case latency_cases[] = {
    {"latency", latency},
    {"storm", storm},
    {"compute", compute},
    {NULL, NULL},
};
