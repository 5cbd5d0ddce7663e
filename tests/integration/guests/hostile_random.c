// Operations at random, as many as the command line says, with so much sense in them that the
// device comes up and takes requests.
#include "hostile.h"

// 64 KiB of RAM that nobody else uses: a device may write there what it likes.
#define BUFFERS 0x1000000U
#define HALF_SET_UP 0xb

static uint32_t state = 0x2545f491;

static uint32_t below(uint32_t limit) { return next_random(&state) % limit; }

static uint32_t any_of(const uint32_t* values, uint32_t count) {
  return pick(&state, values, count);
}
#define ANY(...)                          \
  any_of((const uint32_t[]){__VA_ARGS__}, \
         sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

// The queues' addresses are left alone: the device would write its used ring over this program.
static void any_access(struct target* target) {
  const uint32_t offset = below(0x1000);
  if (offset >= REG_QUEUE_DESC_LOW - 8 && offset < REG_QUEUE_DEVICE_HIGH + 4) return;
  const uint64_t address = target->device.base + offset;
  switch (below(6)) {
    case 0:
      (void)*(volatile uint8_t*)address;
      return;
    case 1:
      (void)*(volatile uint16_t*)address;
      return;
    case 2:
      (void)*(volatile uint64_t*)address;
      return;
    case 3:
      *(volatile uint8_t*)address = (uint8_t)below(256);
      return;
    case 4:
      *(volatile uint32_t*)address = next_random(&state);
      return;
    default:
      *(volatile uint64_t*)address = next_random(&state);
  }
}

static void any_register(struct target* target) {
  const uint32_t offset = ANY(REG_DEVICE_FEATURES_SEL, REG_DRIVER_FEATURES, REG_DRIVER_FEATURES_SEL,
                              REG_QUEUE_SEL, REG_QUEUE_SIZE, REG_QUEUE_READY, REG_QUEUE_NOTIFY,
                              REG_INTERRUPT_ACK, REG_STATUS, REG_CONFIG);
  set(target, offset,
      ANY(0, 1, 2, 3, HALF_SET_UP, 0xf, 16, 0x80, 0x8f, 0xffff, 0x10000, 0xffffffff));
}

static void any_descriptor(struct target* target) {
  static const uint64_t outside[] = {MEMORY_END - 8, 0xc0000000, VIRTIO_BASE, 0xfffffffffffff000};
  set_descriptor(target, (int)below(QUEUE_SIZE), below(2) ? BUFFERS : outside[below(4)],
                 ANY(0, 1, 12, 16, 44, 512, 4096, 0x10000, 0xffffffff),
                 (uint16_t)ANY(0, 1, 1, 2, 2, 3, 3, 4, 5, 0xffff),
                 (uint16_t)ANY(0, 1, 2, 3, 15, 16, 0xffff));
}

static void any_index(struct target* target) {
  struct queue* const queue = abused_queue(target);
  queue->avail.ring[below(QUEUE_SIZE)] = (uint16_t)ANY(0, 1, 15, 16, 0xffff);
  volatile uint16_t* const index = &queue->avail.index;
  *index = (uint16_t)(*index + ANY(1, 1, 2, 16, 17, 0x8000, 0xffff));
}

static void any_header(void) {
  ((volatile uint32_t*)(uintptr_t)BUFFERS)[below(16)] =
      ANY(0, 1, 2, 3, 4, 8, 11, 44, 512, 1024, 0x10001, 0x10005, 0xffffffff);
}

static void plausible_request(struct target* target) {
  const int count = 1 + (int)below(4);
  const int readable = (int)below((uint32_t)count + 1);
  for (int i = 0; i < count; ++i) {
    set_descriptor(target, i, BUFFERS + 0x1000 * (uint32_t)i,
                   ANY(1, 12, 16, 44, 512, 513, 1500, 4096),
                   (uint16_t)((i + 1 < count ? DESC_NEXT : 0) | (i < readable ? 0 : DESC_WRITE)),
                   (uint16_t)(i + 1));
  }
  publish(target, 0);
}

static void one_operation(struct target* target) {
  switch (below(16)) {
    case 0:
      return blind_start(target, next_random(&state));
    case 1:
    case 2:
      return any_access(target);
    case 3:
      return any_register(target);
    case 4:
    case 5:
      return any_descriptor(target);
    case 6:
      return any_index(target);
    case 7:
    case 8:
      return any_header();
    case 9:
    case 10:
      return kick(target);
    default:
      return plausible_request(target);
  }
}

static void random_operations(struct target* target) {
  for (uint32_t i = 0; i < case_number; ++i) one_operation(target);
  start(target);
  target->exchange(target);
}

const struct hostile_case random_cases[] = {
    {"random", random_operations},
    {NULL, NULL},
};
