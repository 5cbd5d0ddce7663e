// Registers of the virtio-mmio transport (virtio 1.2, section 4.2) used as no driver should.
#include "hostile.h"

#define NEGOTIATED 0xb
#define LIVE 0xf
#define STATUS_FAILED 0x80

struct rings {
  uint32_t size;
  uint64_t descriptors;
  uint64_t avail;
  uint64_t used;
};

static void acknowledge(struct target* target) {
  set(target, REG_STATUS, 0);
  set(target, REG_STATUS, STATUS_ACKNOWLEDGE);
  set(target, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
}

static void set_features(struct target* target, uint32_t low, uint32_t high) {
  set(target, REG_DRIVER_FEATURES_SEL, 0);
  set(target, REG_DRIVER_FEATURES, low);
  set(target, REG_DRIVER_FEATURES_SEL, 1);
  set(target, REG_DRIVER_FEATURES, high);
}

static void negotiate(struct target* target) {
  acknowledge(target);
  set_features(target, 0, 1);  // VERSION_1
  set(target, REG_STATUS, NEGOTIATED);
  EXPECT(status_of(target) == NEGOTIATED);
}

static void set_rings(struct target* target, const struct rings* rings) {
  set(target, REG_QUEUE_SIZE, rings->size);
  set(target, REG_QUEUE_DESC_LOW, (uint32_t)rings->descriptors);
  set(target, REG_QUEUE_DESC_HIGH, (uint32_t)(rings->descriptors >> 32));
  set(target, REG_QUEUE_DRIVER_LOW, (uint32_t)rings->avail);
  set(target, REG_QUEUE_DRIVER_HIGH, (uint32_t)(rings->avail >> 32));
  set(target, REG_QUEUE_DEVICE_LOW, (uint32_t)rings->used);
  set(target, REG_QUEUE_DEVICE_HIGH, (uint32_t)(rings->used >> 32));
}

// The status after a start with one queue like this.
static uint32_t status_with(struct target* target, const struct rings* rings) {
  negotiate(target);
  set(target, REG_QUEUE_SEL, (uint32_t)target->queue);
  set_rings(target, rings);
  set(target, REG_QUEUE_READY, 1);
  set(target, REG_STATUS, LIVE);
  return status_of(target);
}

// Three pages of RAM of nobody's.
static struct rings good_rings(void) {
  return (struct rings){QUEUE_SIZE, 0x1000000, 0x1001000, 0x1002000};
}

static void expect_refused(struct target* target, struct rings rings) {
  EXPECT(status_with(target, &rings) == (LIVE | STATUS_NEEDS_RESET));
  EXPECT(get(target, REG_INTERRUPT_STATUS) & 2);
  kick(target);
  EXPECT(status_of(target) == (LIVE | STATUS_NEEDS_RESET));
}

static void expect_works(struct target* target) {
  start(target);
  target->exchange(target);
}

static void queue_sizes(struct target* target) {
  struct rings rings = good_rings();
  set(target, REG_QUEUE_SEL, (uint32_t)target->queue);
  const uint32_t most = get(target, REG_QUEUE_SIZE_MAX);
  EXPECT(most >= QUEUE_SIZE && (most & (most - 1)) == 0);
  const uint32_t sizes[] = {0, 3, most + 1, 2 * most, 65535, 0x10000, 0x10000 + most, 0xffffffff};
  for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); ++i) {
    rings.size = sizes[i];
    expect_refused(target, rings);
  }
  rings.size = most;
  EXPECT(status_with(target, &rings) == LIVE);
  expect_works(target);
}

static void unaligned_rings(struct target* target) {
  struct rings rings = good_rings();
  rings.descriptors += 8;
  expect_refused(target, rings);
  rings = good_rings();
  rings.avail += 1;
  expect_refused(target, rings);
  rings = good_rings();
  rings.used += 2;
  expect_refused(target, rings);
  expect_works(target);
}

static void rings_outside_memory(struct target* target) {
  const uint64_t outside[] = {MEMORY_END, MEMORY_END - 32, 0xc0000000,
                              0xd0000000, 1ULL << 32,      0xfffffffffffffff0};
  for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); ++i) {
    struct rings rings = good_rings();
    rings.descriptors = outside[i];  // 256 bytes
    expect_refused(target, rings);
    rings = good_rings();
    rings.avail = outside[i];  // 38 bytes
    expect_refused(target, rings);
    rings = good_rings();
    rings.used = outside[i];  // 134 bytes
    expect_refused(target, rings);
  }
  // Up to the last byte is inside.
  struct rings rings = good_rings();
  rings.descriptors = MEMORY_END - 16 * QUEUE_SIZE;
  EXPECT(status_with(target, &rings) == LIVE);
  rings = good_rings();
  rings.used = MEMORY_END - 136;
  EXPECT(status_with(target, &rings) == LIVE);
  expect_works(target);
}

// The device reads as descriptors and indices what it wrote as used elements. Whatever comes of it,
// it comes soon and to nobody else.
static void overlapping_rings(struct target* target) {
  struct rings rings = {QUEUE_SIZE, 0x1000000, 0x1000000, 0x1000000};
  for (uint32_t round = 0; round < 64; ++round) {
    rings.avail = rings.descriptors + 2 * (round % 8);
    rings.used = rings.descriptors + 4 * (round / 8);
    for (uint32_t i = 0; i < 256; ++i) ((uint8_t*)0x1000000)[i] = (uint8_t)(i * round);
    EXPECT((status_with(target, &rings) & LIVE) == LIVE);
    kick(target);
  }
  expect_works(target);
}

// Null is an address in RAM like any other: what the queue finds there is up to the guest.
static void null_rings(struct target* target) {
  const struct rings rings = {QUEUE_SIZE, 0, 0, 0};
  EXPECT(status_with(target, &rings) == LIVE);
  kick(target);
  expect_works(target);
}

static void frozen_queue(struct target* target) {
  const struct rings other = {3, 0xfffff000, 0xfffff001, ~0ULL};
  start(target);
  set(target, REG_QUEUE_SEL, (uint32_t)target->queue);
  set(target, REG_QUEUE_READY, 0);
  EXPECT(get(target, REG_QUEUE_READY) == 1);
  set_rings(target, &other);
  set(target, REG_QUEUE_READY, 1);
  target->exchange(target);
  set(target, REG_STATUS, LIVE | STATUS_FAILED);
  set(target, REG_QUEUE_READY, 0);
  set_rings(target, &other);
  EXPECT(get(target, REG_QUEUE_READY) == 1);
  expect_works(target);
}

static void queue_select(struct target* target) {
  const struct rings rings = good_rings();
  const uint32_t selections[] = {(uint32_t)target->queue_count, 0x10000, 0x80000000, 0xffffffff};
  negotiate(target);
  for (size_t i = 0; i < sizeof(selections) / sizeof(selections[0]); ++i) {
    set(target, REG_QUEUE_SEL, selections[i]);
    EXPECT(get(target, REG_QUEUE_SIZE_MAX) == 0);
    set_rings(target, &rings);
    set(target, REG_QUEUE_READY, 1);
    EXPECT(get(target, REG_QUEUE_READY) == 0);
  }
  set(target, REG_QUEUE_SEL, 0);
  EXPECT(get(target, REG_QUEUE_READY) == 0);
  expect_works(target);
}

static uint64_t read64(uint64_t address) { return *(volatile uint64_t*)address; }

static void config_space(struct target* target) {
  const uint64_t base = target->device.base;
  start(target);
  const uint64_t before = read64(base + REG_CONFIG);
  // Beyond every configuration, at every size, across words, and across the end of the page: there
  // the next device's registers begin, or nothing.
  EXPECT(read64(base + 0x800) == 0);
  EXPECT(*(volatile uint8_t*)(base + 0xfff) == 0);
  EXPECT(*(volatile uint16_t*)(base + 0xffe) == 0);
  EXPECT((uint32_t)read64(base + 0xffc) == 0);
  EXPECT(*(volatile uint8_t*)(base + REG_CONFIG + 1) == (uint8_t)(before >> 8));
  EXPECT(*(volatile uint16_t*)(base + REG_CONFIG + 3) == (uint16_t)(before >> 24));
  (void)read64(base + 0xfff);
  *(volatile uint64_t*)(base + 0xffc) = ~0ULL;
  for (uint64_t offset = 0; offset < 64; offset += 8) {
    *(volatile uint64_t*)(base + REG_CONFIG + offset) = ~0ULL;
    *(volatile uint8_t*)(base + REG_CONFIG + offset + 1) = 0xa5;
  }
  EXPECT(read64(base + REG_CONFIG) == before);
  target->exchange(target);
}

static void access_sizes(struct target* target) {
  const uint64_t base = target->device.base;
  start(target);
  for (uint64_t offset = 0; offset < REG_CONFIG; offset += 4) {
    EXPECT(*(volatile uint8_t*)(base + offset) == 0);
    EXPECT(*(volatile uint16_t*)(base + offset) == 0);
    EXPECT(*(volatile uint16_t*)(base + offset + 1) == 0);
    EXPECT(read64(base + offset) == 0 || offset == REG_CONFIG - 4);
    EXPECT(read32(base + offset + 2) == 0);
    *(volatile uint8_t*)(base + offset) = 0;
    *(volatile uint16_t*)(base + offset + 2) = 0;
    *(volatile uint64_t*)(base + offset) = 0;
  }
  // Not even the reset was one.
  EXPECT(status_of(target) == LIVE);
  target->exchange(target);
}

static void status_steps(struct target* target) {
  set(target, REG_STATUS, 0);
  set(target, REG_STATUS, STATUS_DRIVER);
  EXPECT(status_of(target) == 0);
  set(target, REG_STATUS, LIVE);
  EXPECT(status_of(target) == 0);
  acknowledge(target);
  set(target, REG_STATUS, 3 | STATUS_DRIVER_OK);  // Without FEATURES_OK
  EXPECT(status_of(target) == 3);
  set(target, REG_STATUS, 3 | 0x10);  // Reserved
  set(target, REG_STATUS, 3 | STATUS_NEEDS_RESET);
  set(target, REG_STATUS, 0xffffff03);
  EXPECT(status_of(target) == 3);
  set_features(target, 0, 0);  // VERSION_1 refused
  set(target, REG_STATUS, NEGOTIATED);
  EXPECT(status_of(target) == 3);
  set_features(target, 0xffffffff, 0xffffffff);  // Not offered
  set(target, REG_STATUS, NEGOTIATED);
  EXPECT(status_of(target) == 3);
  start(target);
  set(target, REG_STATUS, NEGOTIATED);  // Bits do not go away again
  set(target, REG_STATUS, STATUS_ACKNOWLEDGE);
  EXPECT(status_of(target) == LIVE);
  target->exchange(target);
}

static void failed(struct target* target) {
  start(target);
  set(target, REG_STATUS, LIVE | STATUS_FAILED);
  EXPECT(status_of(target) == (LIVE | STATUS_FAILED));
  struct queue* const queue = abused_queue(target);
  set_descriptor(target, 0, (uintptr_t)scratch, 0, 0, 0);
  publish(target, 0);
  set(target, REG_STATUS, LIVE);
  set(target, REG_QUEUE_SEL, 0);
  set(target, REG_QUEUE_READY, 0);
  write32(target->device.base + REG_CONFIG, 0);
  for (int i = 0; i < 20; ++i) EXPECT(status_of(target) == (LIVE | STATUS_FAILED));
  EXPECT(*(volatile uint16_t*)&queue->used.index == 0);
  expect_works(target);
}

// Every port but those that end the machine, and a word in each of many pages that nobody claims.
static void unclaimed(struct target* target) {
  for (uint32_t port = 0; port < 0x10000; port += 13) {
    const uint8_t value = inb((uint16_t)port);
    const int serial = port >= 0x3f8 && port < 0x400;
    const int power = (port >= 0x600 && port < 0x604) || port == 0x64;
    EXPECT(value == 0xff || serial || power);
    if (!serial && !power) outb((uint16_t)port, 0);
  }
  for (uint64_t address = MEMORY_END; address < 0xfec00000; address += 0x110000) {
    if (address >= VIRTIO_BASE && address < VIRTIO_BASE + 0x20000) continue;
    EXPECT(read32(address) == 0xffffffff);
    write32(address, 0);
  }
  target->exchange(target);
}

const struct hostile_case register_cases[] = {
    {"queue-sizes", queue_sizes},
    {"unaligned-rings", unaligned_rings},
    {"rings-outside-memory", rings_outside_memory},
    {"overlapping-rings", overlapping_rings},
    {"null-rings", null_rings},
    {"frozen-queue", frozen_queue},
    {"queue-select", queue_select},
    {"config-space", config_space},
    {"access-sizes", access_sizes},
    {"status-steps", status_steps},
    {"failed", failed},
    {"unclaimed", unclaimed},
    {NULL, NULL},
};
