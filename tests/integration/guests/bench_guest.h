#pragma once

#include "bench.h"
#include "guest.h"

// What the parts of the bench guest share.

// The numbers of the command line, as each part names them.
#define MOST_NUMBERS 6
typedef uint64_t numbers[MOST_NUMBERS];

void bench_read(const numbers n, int write);
void bench_net_kick(const numbers n);
void bench_net_send(const numbers n);
void bench_net_receive(const numbers n);
void bench_vsock_round_trip(const numbers n);
void bench_vsock_send(const numbers n);
void bench_vsock_receive(const numbers n);

static inline uint64_t rdtsc(void) {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high) : : "memory");
  return (uint64_t)high << 32 | low;
}

// A measurement: nothing counts before begin(), which comes when the warm-up has ended.
struct bench_result* result(void);
void begin(uint64_t now);
int begun(void);
void sample(uint64_t ticks);
void finish(uint64_t now, uint64_t operations, uint64_t bytes);

// Like queue_kick(), if the device wants one for what was submitted since `old`, the avail index
// then (2.7.10): with the event index.
void kick_if_wanted(struct device* device, int index, uint16_t old);
// Keeps the device from interrupting, which it would do in front of nobody.
void want_no_interrupt(struct queue* queue);
