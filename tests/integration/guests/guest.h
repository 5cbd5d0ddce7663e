#pragma once

#include <stddef.h>
#include <stdint.h>

// The tiny library of the test guests: ports, memory-mapped registers, serial output, and a polling
// virtio-mmio driver. Everything runs in ring 3 on an identity map of the first 4 GiB.

void guest_start(const void* start_info);  // From start.S
int guest_main(const char* command_line);  // Each guest has one; its value is printed at the end.
void triple_fault(void) __attribute__((noreturn));

static inline void outb(uint16_t port, uint8_t value) {
  __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline void outl(uint16_t port, uint32_t value) {
  __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port) : "memory");
}
static inline uint8_t inb(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
  return value;
}
static inline uint32_t read32(uint64_t address) { return *(volatile uint32_t*)address; }
static inline void write32(uint64_t address, uint32_t value) {
  *(volatile uint32_t*)address = value;
}

void* memcpy(void* to, const void* from, size_t size);
void* memset(void* to, int value, size_t size);
int memcmp(const void* a, const void* b, size_t size);
size_t strlen(const char* text);

void print(const char* text);
void print_hex(uint64_t value);
void power_off(void) __attribute__((noreturn));
// Prints "FAILED: text" and powers off.
void fail(const char* text) __attribute__((noreturn));
#define EXPECT(condition) ((condition) ? (void)0 : fail(#condition))

// virtio-mmio (virtio 1.2, section 4.2) in polling form.
#ifndef QUEUE_SIZE
#define QUEUE_SIZE 16
#endif
#define MAX_QUEUES 4

struct descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4 };

struct queue {
  struct descriptor descriptors[QUEUE_SIZE] __attribute__((aligned(4096)));
  struct {
    uint16_t flags;
    uint16_t index;
    uint16_t ring[QUEUE_SIZE];
    uint16_t used_event;
  } avail __attribute__((aligned(64)));
  struct {
    uint16_t flags;
    uint16_t index;
    struct {
      uint32_t id;
      uint32_t length;
    } ring[QUEUE_SIZE];
    uint16_t avail_event;
  } used __attribute__((aligned(64)));
  uint16_t next_used;
};

struct device {
  uint64_t base;
  uint32_t id;
  struct queue queues[MAX_QUEUES];
};

enum {
  REG_MAGIC = 0x00,
  REG_VERSION = 0x04,
  REG_DEVICE_ID = 0x08,
  REG_DEVICE_FEATURES = 0x10,
  REG_DEVICE_FEATURES_SEL = 0x14,
  REG_DRIVER_FEATURES = 0x20,
  REG_DRIVER_FEATURES_SEL = 0x24,
  REG_QUEUE_SEL = 0x30,
  REG_QUEUE_SIZE_MAX = 0x34,
  REG_QUEUE_SIZE = 0x38,
  REG_QUEUE_READY = 0x44,
  REG_QUEUE_NOTIFY = 0x50,
  REG_INTERRUPT_STATUS = 0x60,
  REG_INTERRUPT_ACK = 0x64,
  REG_STATUS = 0x70,
  REG_QUEUE_DESC_LOW = 0x80,
  REG_QUEUE_DESC_HIGH = 0x84,
  REG_QUEUE_DRIVER_LOW = 0x90,
  REG_QUEUE_DRIVER_HIGH = 0x94,
  REG_QUEUE_DEVICE_LOW = 0xa0,
  REG_QUEUE_DEVICE_HIGH = 0xa4,
  REG_CONFIG = 0x100,
};
enum {
  STATUS_ACKNOWLEDGE = 1,
  STATUS_DRIVER = 2,
  STATUS_DRIVER_OK = 4,
  STATUS_FEATURES_OK = 8,
  STATUS_NEEDS_RESET = 0x40,
};

#define VIRTIO_BASE 0xd0000000ULL
#define VIRTIO_STRIDE 0x1000ULL
enum { ID_NET = 1, ID_BLOCK = 2, ID_ENTROPY = 4, ID_BALLOON = 5, ID_VSOCK = 19 };

// Features (bits 0 to 31) that device_start() does not take: the event index, which a driver that
// only polls has no use for. A guest may change it.
extern uint32_t refused_features;

// Finds the `nth` device of this kind (0 is the first) and brings it to DRIVER_OK with
// `queue_count` queues. False if there is none.
int device_start(struct device* device, uint32_t id, int nth, int queue_count);
// Puts one chain of `count` descriptors into the queue, from descriptor `first` on.
void queue_submit(struct queue* queue, uint16_t first, const struct descriptor* chain, int count);
void queue_kick(struct device* device, int index);
// Waits until a chain was used, and returns its length; its head in *head if that is not null.
uint32_t queue_wait(struct device* device, int index, uint32_t* head);
// The same without waiting: 1 if there was one.
int queue_poll(struct device* device, int index, uint32_t* head, uint32_t* length);
