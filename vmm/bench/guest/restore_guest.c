// What `mayfly bench restore` restores: rings its doorbell, and in each life marks its first
// instruction, touches its working set, and marks the end of that. The command line is the number
// of runs that make up the working set: see working_set.h.
#include <stddef.h>
#include <stdint.h>

#include "working_set.h"

enum { DOORBELL = 0x610, READY = 1, BEGUN = 2, DONE = 3 };
#define GENERATION (*(const volatile uint64_t*)(0xde000 + 16))

struct start_info {
  uint32_t magic, version, flags, modules_count;
  uint64_t modules, command_line;
};

static void ring(uint32_t value) {
  __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"((uint16_t)DOORBELL) : "memory");
}

static void touch(uint64_t runs, int all) {
  uint64_t count = 0;
  for (uint64_t run = 0; run < runs; ++run) {
    volatile uint64_t* page = (volatile uint64_t*)(WORKING_SET + run * RUN_STRIDE * PAGE_SIZE);
    for (uint64_t i = 0; i < RUN_PAGES(run); ++i, ++count, page += PAGE_SIZE / sizeof(*page)) {
      if (all || IS_WRITTEN(count)) {
        *page = count + 1;
      } else {
        (void)*page;
      }
    }
  }
}

void guest_start(const struct start_info* info) {
  uint64_t runs = 0;
  for (const char* c = (const char*)info->command_line; *c >= '0' && *c <= '9'; ++c) {
    runs = runs * 10 + (uint64_t)(*c - '0');
  }
  touch(runs, 1);
  for (;;) {
    const uint64_t generation = GENERATION;
    do {
      ring(READY);
    } while (GENERATION == generation);
    ring(BEGUN);
    touch(runs, 0);
    ring(DONE);
  }
}
