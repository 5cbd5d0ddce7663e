// What `mayfly bench faults` restores: rings its doorbell, and in each life marks its first
// instruction, reads one word of each of its pages, and marks the end of that. The command line is
// how many pages those are (a power of two), how many pages one is from the next, and whether they
// are read in a random order: "2048 16 1".
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

static uint64_t number(const char** text) {
  uint64_t value = 0;
  while (**text >= '0' && **text <= '9') value = value * 10 + (uint64_t)(*(*text)++ - '0');
  if (**text == ' ') ++*text;
  return value;
}

void guest_start(const struct start_info* info) {
  const char* arguments = (const char*)info->command_line;
  const uint64_t pages = number(&arguments);
  const uint64_t stride = number(&arguments) * (PAGE_SIZE / sizeof(uint64_t));
  const uint64_t random = number(&arguments);
  volatile uint64_t* const arena = (volatile uint64_t*)WORKING_SET;
  // A linear congruential generator of full period visits each page once.
  const uint64_t factor = random ? 1664525 : 1;
  const uint64_t addend = random ? 1013904223 : 1;
  for (uint64_t page = 0; page < pages; ++page) arena[page * stride] = page + 1;
  for (;;) {
    const uint64_t generation = GENERATION;
    do {
      ring(READY);
    } while (GENERATION == generation);
    ring(BEGUN);
    uint64_t page = 0;
    for (uint64_t i = 0; i < pages; ++i) {
      (void)arena[page * stride];
      page = (page * factor + addend) & (pages - 1);
    }
    ring(DONE);
  }
}
