// Touches 64 MiB and gives them up, step by step as the balloon's target says:
//   a target of all 64 MiB   into the balloon, as page numbers
//   a target of 0            out again: they are zero; then touched, and reported as free
// Before that it answers a request for statistics.
#include "guest.h"

enum { INFLATE, DEFLATE, STATS, REPORTING };
enum { PAGE = 4096, PAGES = 16384, NUMBERS = 256, STAT_FREE = 4, STAT_TOTAL = 5 };
#define START 0x2000000ULL

static struct device balloon;
static uint32_t numbers[NUMBERS];
static struct {
  uint16_t tag;
  uint64_t value;
} __attribute__((packed)) stats[2];

static volatile uint64_t* word_of(uint32_t page) {
  return (volatile uint64_t*)(START + (uint64_t)page * PAGE);
}

static void touch_all(void) {
  for (uint32_t page = 0; page < PAGES; ++page) *word_of(page) = page + 1;
}

static void wait_for_target(uint32_t pages) {
  while (read32(balloon.base + REG_CONFIG) != pages) continue;
}

// All pages, in chains of 256 numbers from the last page down.
static void move_all(int queue) {
  for (uint32_t page = PAGES; page > 0; page -= NUMBERS) {
    for (uint32_t i = 0; i < NUMBERS; ++i) numbers[i] = (uint32_t)(START / PAGE) + page - 1 - i;
    const struct descriptor chain[] = {{(uintptr_t)numbers, sizeof(numbers), 0, 0}};
    queue_submit(&balloon.queues[queue], 0, chain, 1);
    queue_kick(&balloon, queue);
    queue_wait(&balloon, queue, NULL);
  }
}

static void report_all(void) {
  struct descriptor chain[4];
  for (uint32_t i = 0; i < 4; ++i) {
    chain[i] = (struct descriptor){START + i * (16ULL << 20), 16 << 20, DESC_WRITE, 0};
  }
  queue_submit(&balloon.queues[REPORTING], 0, chain, 4);
  queue_kick(&balloon, REPORTING);
  queue_wait(&balloon, REPORTING, NULL);
}

static void give_stats(void) {
  const struct descriptor chain[] = {{(uintptr_t)stats, sizeof(stats), 0, 0}};
  queue_submit(&balloon.queues[STATS], 0, chain, 1);
  queue_kick(&balloon, STATS);
}

int guest_main(const char* command_line) {
  (void)command_line;
  EXPECT(device_start(&balloon, ID_BALLOON, 0, 4));
  give_stats();
  queue_wait(&balloon, STATS, NULL);  // The host asks for news.
  stats[0].tag = STAT_FREE;
  stats[0].value = 12345;
  stats[1].tag = STAT_TOTAL;
  stats[1].value = 67890;
  give_stats();

  touch_all();
  print("touched\n");
  wait_for_target(PAGES);
  move_all(INFLATE);
  write32(balloon.base + REG_CONFIG + 4, PAGES);
  print("inflated\n");

  wait_for_target(0);
  move_all(DEFLATE);
  write32(balloon.base + REG_CONFIG + 4, 0);
  for (uint32_t page = 0; page < PAGES; ++page) EXPECT(*word_of(page) == 0);
  touch_all();
  print("deflated\n");

  wait_for_target(1);
  report_all();
  print("reported\n");
  wait_for_target(0);
  for (uint32_t page = 0; page < PAGES; ++page) EXPECT(*word_of(page) == 0);
  return 0;
}
