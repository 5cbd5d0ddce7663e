// Begins one life after the other. In each it checks that its memory and its registers are what it
// left, changes them, and rings the doorbell. The command line is in how many lives it ends, and how
// many MiB of memory it keeps: "2 1".
#include "guest.h"

#define RESTORE_PAGE 0xde000ULL
#define GENERATION (*(volatile uint64_t*)(RESTORE_PAGE + 16))
#define ARENA 0x4000000ULL  // 64 MiB
enum { DOORBELL = 0x610, READY = 1, PAGE = 4096 };

static uint64_t number(const char** text) {
  uint64_t value = 0;
  while (**text >= '0' && **text <= '9') value = value * 10 + (uint64_t)(*(*text)++ - '0');
  if (**text == ' ') ++*text;
  return value;
}

static volatile uint64_t* word(uint64_t page) {
  return (volatile uint64_t*)(ARENA + page * PAGE);
}

int guest_main(const char* command_line) {
  const uint64_t lives = number(&command_line);
  const uint64_t pages = number(&command_line) * 256;
  for (uint64_t page = 0; page < pages; ++page) *word(page) = page ^ 0x5eed;
  for (uint64_t life = 0; life < lives; ++life) {
    const uint64_t generation = GENERATION;
    do {
      outl(DOORBELL, READY);
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
