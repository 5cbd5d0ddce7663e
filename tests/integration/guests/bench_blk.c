// Reads or writes on the first block device, with a fixed number of requests in flight: those that
// are done are replaced, and the device is kicked for them together.
#include "bench_guest.h"

enum { TYPE_IN = 0, TYPE_OUT = 1, STATUS_OK = 0, SECTOR = 512 };
enum { MOST_DEPTH = 64, MOST_SIZE = 128 << 10, DESCRIPTORS = 3, WARM_UP = 256 };

struct request {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};

// TICKS SIZE DEPTH SEQUENTIAL DISK_BYTES
enum { TICKS, SIZE, DEPTH, SEQUENTIAL, DISK_BYTES };

static struct device blk;
static struct request requests[MOST_DEPTH];
static volatile uint8_t statuses[MOST_DEPTH];
static uint64_t submitted[MOST_DEPTH];
static uint8_t data[MOST_DEPTH][MOST_SIZE] __attribute__((aligned(4096)));

static uint64_t next_block(const numbers n) {
  static uint64_t state = 88172645463325252ULL;
  static uint64_t position;
  const uint64_t blocks = n[DISK_BYTES] / n[SIZE];
  if (n[SEQUENTIAL]) return position++ % blocks;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state % blocks;
}

static void submit(const numbers n, uint32_t slot, int write) {
  requests[slot] =
      (struct request){write ? TYPE_OUT : TYPE_IN, 0, next_block(n) * (n[SIZE] / SECTOR)};
  statuses[slot] = 0xff;
  const struct descriptor chain[DESCRIPTORS] = {
      {(uintptr_t)&requests[slot], sizeof(struct request), 0, 0},
      {(uintptr_t)data[slot], (uint32_t)n[SIZE], write ? 0 : DESC_WRITE, 0},
      {(uintptr_t)&statuses[slot], 1, DESC_WRITE, 0},
  };
  submitted[slot] = rdtsc();
  queue_submit(&blk.queues[0], (uint16_t)(slot * DESCRIPTORS), chain, DESCRIPTORS);
}

// Replaces what is done; how many that were.
static uint64_t turn(const numbers n, int write) {
  struct queue* queue = &blk.queues[0];
  const uint16_t old = queue->avail.index;
  uint64_t count = 0;
  uint32_t head = 0;
  while (count < n[DEPTH] && queue_poll(&blk, 0, &head, NULL)) {
    const uint32_t slot = head / DESCRIPTORS;
    sample(rdtsc() - submitted[slot]);
    EXPECT(statuses[slot] == STATUS_OK);
    submit(n, slot, write);
    ++count;
  }
  if (count == 0) return 0;
  want_no_interrupt(queue);
  kick_if_wanted(&blk, 0, old);
  return count;
}

void bench_read(const numbers n, int write) {
  EXPECT(n[DEPTH] <= MOST_DEPTH && n[SIZE] <= MOST_SIZE);
  EXPECT(device_start(&blk, ID_BLOCK, 0, 1));
  memset(data, 0x5a, sizeof(data));
  want_no_interrupt(&blk.queues[0]);
  for (uint32_t slot = 0; slot < n[DEPTH]; ++slot) submit(n, slot, write);
  kick_if_wanted(&blk, 0, 0);
  uint64_t all = 0;
  while (all < WARM_UP) all += turn(n, write);
  const uint64_t start = rdtsc();
  begin(start);
  uint64_t operations = 0;
  uint64_t now = start;
  while (operations == 0 || now - start < n[TICKS]) {
    operations += turn(n, write);
    now = rdtsc();
  }
  finish(now, operations, operations * n[SIZE]);
  result()->all_operations = all + operations + n[DEPTH];
  // What is in flight is answered before the machine goes.
  for (uint64_t left = n[DEPTH]; left > 0; --left) queue_wait(&blk, 0, NULL);
}
