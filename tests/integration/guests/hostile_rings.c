// Descriptors and rings that break the rules of virtio 1.2, section 2.7.
#include "hostile.h"

static void one_descriptor(struct target* target, uint64_t address, uint32_t length, uint16_t flags,
                           uint16_t next) {
  set_descriptor(target, 0, address, length, flags, next);
  publish(target, 0);
  expect_broken(target);
}

static void self_loop(struct target* target) {
  one_descriptor(target, (uintptr_t)scratch, 16, DESC_NEXT, 0);
}

static void cycle(struct target* target) {
  set_descriptor(target, 1, (uintptr_t)scratch, 16, DESC_NEXT, 0);
  one_descriptor(target, (uintptr_t)scratch, 16, DESC_NEXT, 1);
  for (int i = 0; i < QUEUE_SIZE; ++i) {
    set_descriptor(target, i, (uintptr_t)scratch, 16, DESC_NEXT | DESC_WRITE,
                   (uint16_t)((i + 1) % QUEUE_SIZE));
  }
  publish(target, 5);
  expect_broken(target);
}

static void next_beyond_table(struct target* target) {
  one_descriptor(target, (uintptr_t)scratch, 16, DESC_NEXT, QUEUE_SIZE);
  one_descriptor(target, (uintptr_t)scratch, 16, DESC_NEXT, 0xffff);
}

static void head_beyond_table(struct target* target) {
  publish(target, QUEUE_SIZE);
  expect_broken(target);
  publish(target, 0xffff);
  expect_broken(target);
}

static void buffer_outside_memory(struct target* target) {
  one_descriptor(target, MEMORY_END, 16, 0, 0);
  one_descriptor(target, 0xc0000000, 16, DESC_WRITE, 0);
  one_descriptor(target, 1ULL << 32, 16, 0, 0);
  one_descriptor(target, 1ULL << 63, 16, DESC_WRITE, 0);
}

static void buffer_on_registers(struct target* target) {
  one_descriptor(target, target->device.base, 16, 0, 0);
  one_descriptor(target, target->device.base + REG_STATUS, 4, DESC_WRITE, 0);
  one_descriptor(target, 0xfee00000, 16, DESC_WRITE, 0);
}

static void buffer_wraps(struct target* target) {
  one_descriptor(target, 0xfffffffffffff000, 0x2000, DESC_WRITE, 0);
  one_descriptor(target, 0xffffffffffffffff, 1, 0, 0);
  one_descriptor(target, (uintptr_t)scratch, 0xffffffff, DESC_WRITE, 0);
}

// The part in front of the end must not be touched either, nor the good buffer before it.
static void buffer_straddles_end(struct target* target) {
  uint8_t* const last = (uint8_t*)(uintptr_t)(MEMORY_END - 8);
  memset(last, 0x5a, 8);
  memset(canary, 0x5a, sizeof(canary));
  set_descriptor(target, 0, (uintptr_t)canary, 512, DESC_WRITE | DESC_NEXT, 1);
  set_descriptor(target, 1, MEMORY_END - 8, 16, DESC_WRITE, 0);
  publish(target, 0);
  expect_broken(target);
  for (int i = 0; i < 8; ++i) EXPECT(last[i] == 0x5a);
  for (int i = 0; i < 512; ++i) EXPECT(canary[i] == 0x5a);
}

// Nine times nearly all of memory is more than 2^32 bytes, eight times is less: a request that a
// device may answer as it likes, but soon.
static void chain_of_4_gib(struct target* target) {
  const uint32_t length = MEMORY_END - 0x10000;
  for (int i = 0; i < 9; ++i) {
    set_descriptor(target, i, 0x10000, length, i < 8 ? DESC_NEXT : 0, (uint16_t)(i + 1));
  }
  publish(target, 0);
  expect_broken(target);
  for (int i = 0; i < 8; ++i) {
    set_descriptor(target, i, 0x10000, length, i < 7 ? DESC_NEXT : 0, (uint16_t)(i + 1));
  }
  const uint16_t used = abused_queue(target)->used.index;
  publish(target, 0);
  EXPECT(wait_used(target, (uint16_t)(used + 1)) == USED);
  start(target);
}

static void indirect(struct target* target) {
  struct descriptor* const table = (struct descriptor*)scratch;
  table[0] = (struct descriptor){(uintptr_t)canary, 16, 0, 0};
  one_descriptor(target, (uintptr_t)table, 16, DESC_INDIRECT, 0);
  one_descriptor(target, (uintptr_t)table, 16, DESC_INDIRECT | DESC_NEXT, 1);
  one_descriptor(target, (uintptr_t)table, 0, DESC_INDIRECT, 0);
  one_descriptor(target, (uintptr_t)table, 15, DESC_INDIRECT, 0);
  one_descriptor(target, (uintptr_t)table, 16 * (QUEUE_SIZE + 1), DESC_INDIRECT, 0);
  one_descriptor(target, MEMORY_END, 16, DESC_INDIRECT, 0);
  table[0].flags = DESC_INDIRECT;
  one_descriptor(target, (uintptr_t)table, 16, DESC_INDIRECT | DESC_WRITE, 0);
}

static void writable_first(struct target* target) {
  set_descriptor(target, 1, (uintptr_t)scratch, 16, 0, 0);
  one_descriptor(target, (uintptr_t)scratch, 16, DESC_NEXT | DESC_WRITE, 1);
}

// A device that is given only what it may read has nothing to write to.
static void readable_stays(struct target* target) {
  memset(scratch, 0, sizeof(scratch));  // To a disk: a read of sector 0.
  memset(canary, 0x5a, sizeof(canary));
  const uint16_t used = abused_queue(target)->used.index;
  set_descriptor(target, 0, (uintptr_t)scratch, 16, DESC_NEXT, 1);
  set_descriptor(target, 1, (uintptr_t)canary, 512, DESC_NEXT, 2);
  set_descriptor(target, 2, (uintptr_t)canary + 512, 1, 0, 0);
  publish(target, 0);
  EXPECT(wait_used(target, (uint16_t)(used + 1)) == USED);
  EXPECT(abused_queue(target)->used.ring[used % QUEUE_SIZE].length == 0);
  for (int i = 0; i < 513; ++i) EXPECT(canary[i] == 0x5a);
  start(target);
  target->exchange(target);
}

static void zero_length(struct target* target) {
  for (int i = 0; i < QUEUE_SIZE; ++i) {
    const uint16_t flags = i + 1 < QUEUE_SIZE ? DESC_NEXT : 0;
    set_descriptor(target, i, (uintptr_t)scratch, 0, flags, (uint16_t)(i + 1));
  }
  const uint16_t used = abused_queue(target)->used.index;
  publish(target, 0);
  EXPECT(wait_used(target, (uint16_t)(used + 1)) == USED);
  EXPECT(abused_queue(target)->used.ring[used % QUEUE_SIZE].length == 0);
  start(target);
  target->exchange(target);
}

static void move_index(struct target* target, int by) {
  volatile uint16_t* const index = &abused_queue(target)->avail.index;
  *index = (uint16_t)(*index + by);
  kick(target);
}

static void index_jumps(struct target* target) {
  move_index(target, QUEUE_SIZE + 1);
  expect_broken(target);
  move_index(target, 0x8000);
  expect_broken(target);
}

static void index_goes_back(struct target* target) {
  move_index(target, -1);
  expect_broken(target);
}

// 65536 requests, a ring full at a time, all of one descriptor without bytes: the index wraps.
static void index_wraps(struct target* target) {
  start(target);
  set_descriptor(target, 0, (uintptr_t)scratch, 0, 0, 0);
  for (uint32_t done = 0; done < 65536; done += QUEUE_SIZE) {
    move_index(target, QUEUE_SIZE);
    EXPECT(wait_used(target, (uint16_t)(done + QUEUE_SIZE)) == USED);
  }
  abused_queue(target)->next_used = 0;
  target->exchange(target);
}

const struct hostile_case ring_cases[] = {
    {"self-loop", self_loop},
    {"cycle", cycle},
    {"next-beyond-table", next_beyond_table},
    {"head-beyond-table", head_beyond_table},
    {"buffer-outside-memory", buffer_outside_memory},
    {"buffer-on-registers", buffer_on_registers},
    {"buffer-wraps", buffer_wraps},
    {"buffer-straddles-end", buffer_straddles_end},
    {"chain-of-4-gib", chain_of_4_gib},
    {"indirect", indirect},
    {"writable-first", writable_first},
    {"readable-stays", readable_stays},
    {"zero-length", zero_length},
    {"index-jumps", index_jumps},
    {"index-goes-back", index_goes_back},
    {"index-wraps", index_wraps},
    {NULL, NULL},
};
