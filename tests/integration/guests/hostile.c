// A driver that breaks the rules of virtio, one at a time, on the first block device; after each it
// resets the device and does an honest read. The other device, virtio-rng, must work to the end.
#include "guest.h"

static struct device blk;
static struct device rng;
static struct {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
} request;
static uint8_t data[512];
// Of its own: ThreadSanitizer does not see that the guest orders what two devices write.
static uint8_t random[64];
static volatile uint8_t status;

static void submit(const struct descriptor* chain, int count) {
  queue_submit(&blk.queues[0], 0, chain, count);
  queue_kick(&blk, 0);
}

static void start(void) { EXPECT(device_start(&blk, ID_BLOCK, 0, 1)); }

static void expect_needs_reset(const char* what) {
  if ((read32(blk.base + REG_STATUS) & STATUS_NEEDS_RESET) == 0) {
    // The kick may be handled on another thread.
    for (int i = 0; i < 100000; ++i) {
      if (read32(blk.base + REG_STATUS) & STATUS_NEEDS_RESET) goto seen;
    }
    print(what);
    fail(": the device does not need a reset");
  }
seen:
  print(what);
  print("\n");
  start();
  request.type = 0;
  request.sector = 1;
  status = 0xee;
  const struct descriptor chain[] = {{(uintptr_t)&request, 16, 0, 0},
                                     {(uintptr_t)data, 512, DESC_WRITE, 0},
                                     {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  submit(chain, 3);
  queue_wait(&blk, 0, NULL);
  EXPECT(status == 0 && data[0] == 1);
}

static void raw_descriptor(int index, uint64_t address, uint32_t length, uint16_t flags,
                           uint16_t next) {
  blk.queues[0].descriptors[index] = (struct descriptor){address, length, flags, next};
}

static void raw_submit(uint16_t head) {
  struct queue* queue = &blk.queues[0];
  volatile uint16_t* index = &queue->avail.index;
  queue->avail.ring[*index % QUEUE_SIZE] = head;
  *index = (uint16_t)(*index + 1);
  queue_kick(&blk, 0);
}

int guest_main(const char* command_line) {
  (void)command_line;
  const uintptr_t header = (uintptr_t)&request;
  start();

  raw_descriptor(0, header, 16, DESC_NEXT, 0);
  raw_submit(0);
  expect_needs_reset("case 1: a descriptor that follows itself");

  raw_descriptor(0, header, 16, DESC_NEXT, 1);
  raw_descriptor(1, header, 16, DESC_NEXT, 0);
  raw_submit(0);
  expect_needs_reset("case 1: a cycle of two");

  raw_descriptor(0, header, 16, DESC_NEXT, QUEUE_SIZE);
  raw_submit(0);
  expect_needs_reset("case 2: next beyond the queue");

  raw_submit(QUEUE_SIZE);
  expect_needs_reset("case 3: head beyond the queue");

  raw_descriptor(0, 0xc0000000, 16, 0, 0);
  raw_submit(0);
  expect_needs_reset("case 4: a buffer in the MMIO hole");

  raw_descriptor(0, blk.base, 16, 0, 0);
  raw_submit(0);
  expect_needs_reset("case 4: a buffer on the device's own registers");

  raw_descriptor(0, 0xfffffffffffff000, 0x2000, 0, 0);
  raw_submit(0);
  expect_needs_reset("case 5: address and length wrap");

  raw_descriptor(0, (128 << 20) - 8, 16, 0, 0);
  raw_submit(0);
  expect_needs_reset("case 6: a buffer across the end of memory");

  raw_descriptor(0, header, 16, DESC_INDIRECT, 0);
  raw_submit(0);
  expect_needs_reset("case 8: an indirect descriptor");

  raw_descriptor(0, (uintptr_t)data, 16, DESC_NEXT | DESC_WRITE, 1);
  raw_descriptor(1, header, 16, 0, 0);
  raw_submit(0);
  expect_needs_reset("case 9: writable before readable");

  blk.queues[0].avail.index = (uint16_t)(blk.queues[0].avail.index + QUEUE_SIZE + 1);
  queue_kick(&blk, 0);
  expect_needs_reset("case 15: the avail index jumps");

  // Not broken, only useless: a request without room for its status is returned undone.
  const struct descriptor no_status[] = {{header, 16, 0, 0}};
  submit(no_status, 1);
  EXPECT(queue_wait(&blk, 0, NULL) == 0);
  print("case 28: no status descriptor\n");

  for (int i = 0; i < 1000; ++i) queue_kick(&blk, 0);
  queue_kick(&blk, 7);
  queue_kick(&blk, -1);
  print("case 18: kicks for nothing\n");

  write32(blk.base + REG_QUEUE_SEL, 0);
  write32(blk.base + REG_QUEUE_DESC_LOW, 0xfffff000);
  write32(blk.base + REG_QUEUE_SIZE, 3);
  status = 0xee;
  const struct descriptor honest[] = {{header, 16, 0, 0},
                                      {(uintptr_t)data, 512, DESC_WRITE, 0},
                                      {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  submit(honest, 3);
  queue_wait(&blk, 0, NULL);
  EXPECT(status == 0);
  print("case 13: queue registers are frozen after DRIVER_OK\n");

  EXPECT(device_start(&rng, ID_ENTROPY, 0, 1));
  const struct descriptor entropy[] = {{(uintptr_t)random, 64, DESC_WRITE, 0}};
  queue_submit(&rng.queues[0], 0, entropy, 1);
  queue_kick(&rng, 0);
  EXPECT(queue_wait(&rng, 0, NULL) == 64);
  return 0;
}
