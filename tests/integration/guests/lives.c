// Begins one life after the other. In each it checks that its memory and its registers are what it
// left, changes them, and rings the doorbell. The command line is in how many lives it ends, how
// many MiB of memory it keeps, and whether it rings by the doorbell's address instead of its port,
// and before that gives memory back: "2 1 1".
#include "guest.h"

#define RESTORE_PAGE 0xde000ULL
#define GENERATION (*(volatile uint64_t*)(RESTORE_PAGE + 16))
#define ARENA 0x4000000ULL  // 64 MiB
enum { DOORBELL = 0x610, READY = 1, PAGE = 4096 };
#define DOORBELL_REGISTERS 0xcffff000ULL
enum { RING = 0, DISCARD = 8 };
#define BLOCK 0x200000ULL
enum { SPARE = 24, KEPT = 25, NO_RAM = 0x600 };  // Blocks: 48 MiB and so on.

static uint64_t number(const char** text) {
  uint64_t value = 0;
  while (**text >= '0' && **text <= '9') value = value * 10 + (uint64_t)(*(*text)++ - '0');
  if (**text == ' ') ++*text;
  return value;
}

static volatile uint64_t* word(uint64_t page) { return (volatile uint64_t*)(ARENA + page * PAGE); }

static void fill(uint64_t block, uint64_t value) {
  for (uint64_t at = 0; at < BLOCK; at += PAGE) *(volatile uint64_t*)(block * BLOCK + at) = value;
}

static void expect_filled(uint64_t block, uint64_t value) {
  for (uint64_t at = 0; at < BLOCK; at += PAGE) {
    EXPECT(*(volatile uint64_t*)(block * BLOCK + at) == value);
  }
}

static void discard(uint64_t page, uint64_t count) {
  *(volatile uint64_t*)(DOORBELL_REGISTERS + DISCARD) = count << 32 | page;
}

static void give_back(uint64_t life) {
  expect_filled(SPARE, 0);
  expect_filled(KEPT, life);
  fill(SPARE, 0x5eed);
  fill(KEPT, life + 1);
  discard(SPARE * (BLOCK / PAGE), BLOCK / PAGE);
  discard(NO_RAM * (BLOCK / PAGE), BLOCK / PAGE);
  discard(0, 0);
  discard(1, 0xffffffff);
  discard(0xffffffff, 0xffffffff);
  expect_filled(SPARE, 0);
  expect_filled(KEPT, life + 1);
}

static void ring(int by_address) {
  if (by_address) {
    *(volatile uint32_t*)(DOORBELL_REGISTERS + RING) = READY;
  } else {
    outl(DOORBELL, READY);
  }
}

int guest_main(const char* command_line) {
  const uint64_t lives = number(&command_line);
  const uint64_t pages = number(&command_line) * 256;
  const int by_address = number(&command_line) != 0;
  for (uint64_t page = 0; page < pages; ++page) *word(page) = page ^ 0x5eed;
  for (uint64_t life = 0; life < lives; ++life) {
    const uint64_t generation = GENERATION;
    if (by_address) give_back(life);
    do {
      ring(by_address);
    } while (GENERATION == generation);
    for (uint64_t page = 0; page < pages; ++page) {
      EXPECT(*word(page) == ((page ^ 0x5eed) + life));
      ++*word(page);
    }
    print("life ");
    print_hex(life + 1);
    print("\n");
  }
  return 0;
}
