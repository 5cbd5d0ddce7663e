// Sends frames as fast as they go, or counts those that come.
#include "bench_guest.h"

enum { RECEIVE = 0, TRANSMIT = 1, HEADER = 12, BUFFER = 2048, WARM_UP = 2000 };
enum { BATCH = 32 };

// TICKS SIZE, of a frame without its virtio header
enum { TICKS, SIZE };

static struct device net;
static uint8_t buffers[QUEUE_SIZE][BUFFER] __attribute__((aligned(4096)));

static void submit(int queue, uint32_t slot, uint32_t length) {
  const struct descriptor chain[] = {
      {(uintptr_t)buffers[slot], length, queue == RECEIVE ? DESC_WRITE : 0, 0}};
  queue_submit(&net.queues[queue], (uint16_t)slot, chain, 1);
}

// Gives back to the device what it is done with, and kicks for each BATCH; how many that were.
static uint64_t turn(int index, uint32_t length) {
  struct queue* queue = &net.queues[index];
  const uint16_t old = queue->avail.index;
  uint64_t count = 0;
  uint32_t slot = 0;
  while (count < BATCH && queue_poll(&net, index, &slot, NULL)) {
    submit(index, slot, length);
    ++count;
  }
  if (count == 0) return 0;
  want_no_interrupt(queue);
  kick_if_wanted(&net, index, old);
  return count;
}

static void measure(const numbers n, int index, uint32_t length) {
  uint64_t all = 0;
  while (all < WARM_UP) all += turn(index, length);
  const uint64_t start = rdtsc();
  begin(start);
  uint64_t operations = 0;
  uint64_t now = start;
  while (operations == 0 || now - start < n[TICKS]) {
    operations += turn(index, length);
    now = rdtsc();
  }
  finish(now, operations, operations * n[SIZE]);
  result()->all_operations = all + operations;
}

static void set_up(void) {
  EXPECT(device_start(&net, ID_NET, 0, 2));
  want_no_interrupt(&net.queues[RECEIVE]);
  want_no_interrupt(&net.queues[TRANSMIT]);
}

// Kicks for nothing.
void bench_net_kick(const numbers n) {
  set_up();
  const uint64_t start = rdtsc();
  begin(start);
  uint64_t operations = 0;
  uint64_t before = start;
  while (before - start < n[TICKS]) {
    queue_kick(&net, TRANSMIT);
    const uint64_t now = rdtsc();
    sample(now - before);
    before = now;
    ++operations;
  }
  finish(before, operations, 0);
}

void bench_net_send(const numbers n) {
  set_up();
  EXPECT(n[SIZE] + HEADER <= BUFFER);
  for (uint32_t slot = 0; slot < QUEUE_SIZE; ++slot) {
    uint8_t* frame = buffers[slot] + HEADER;
    memset(frame, 0xff, 6);
    memcpy(frame + 6, (const uint8_t[]){0x02, 0, 0, 0, 0, 1, 0x88, 0xb5}, 8);
    submit(TRANSMIT, slot, (uint32_t)n[SIZE] + HEADER);
  }
  kick_if_wanted(&net, TRANSMIT, 0);
  measure(n, TRANSMIT, (uint32_t)n[SIZE] + HEADER);
}

void bench_net_receive(const numbers n) {
  set_up();
  for (uint32_t slot = 0; slot < QUEUE_SIZE; ++slot) submit(RECEIVE, slot, BUFFER);
  kick_if_wanted(&net, RECEIVE, 0);
  print("ready\n");
  measure(n, RECEIVE, BUFFER);
}
