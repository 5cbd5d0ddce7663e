#include "guest.h"

#define SERIAL_PORT 0x3f8
#define SLEEP_CONTROL_PORT 0x600
#define SLEEP_S5 0x34  // SLP_EN, SLP_TYP 5

void* memcpy(void* to, const void* from, size_t size) {
  uint8_t* t = to;
  const uint8_t* f = from;
  while (size-- > 0) *t++ = *f++;
  return to;
}

void* memset(void* to, int value, size_t size) {
  uint8_t* t = to;
  while (size-- > 0) *t++ = (uint8_t)value;
  return to;
}

int memcmp(const void* a, const void* b, size_t size) {
  const uint8_t* x = a;
  const uint8_t* y = b;
  for (; size > 0; --size, ++x, ++y) {
    if (*x != *y) return *x - *y;
  }
  return 0;
}

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != 0) ++length;
  return length;
}

void print(const char* text) {
  while (*text != 0) outb(SERIAL_PORT, (uint8_t)*text++);
}

void print_hex(uint64_t value) {
  char text[17];
  for (int i = 0; i < 16; ++i) {
    text[i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 0xf];
  }
  text[16] = 0;
  print(text);
}

void power_off(void) {
  outb(SLEEP_CONTROL_PORT, SLEEP_S5);
  for (;;) {
  }
}

void fail(const char* text) {
  print("FAILED: ");
  print(text);
  print("\n");
  power_off();
}

void guest_start(const void* start_info) {
  // hvm_start_info: the command line's address is at offset 24.
  const char* command_line = *(const char* const*)((const uint8_t*)start_info + 24);
  if (guest_main(command_line) == 0) print("PASSED\n");
  power_off();
}

uint32_t refused_features = 1U << 29;

static uint32_t reg(const struct device* device, uint32_t offset) {
  return read32(device->base + offset);
}

static void set_reg(const struct device* device, uint32_t offset, uint32_t value) {
  write32(device->base + offset, value);
}

static void start_queue(struct device* device, int index) {
  struct queue* queue = &device->queues[index];
  memset(queue, 0, sizeof(*queue));
  queue->avail.flags = 1;  // No interrupts: this driver polls.
  set_reg(device, REG_QUEUE_SEL, (uint32_t)index);
  set_reg(device, REG_QUEUE_SIZE, QUEUE_SIZE);
  set_reg(device, REG_QUEUE_DESC_LOW, (uint32_t)(uintptr_t)queue->descriptors);
  set_reg(device, REG_QUEUE_DESC_HIGH, 0);
  set_reg(device, REG_QUEUE_DRIVER_LOW, (uint32_t)(uintptr_t)&queue->avail);
  set_reg(device, REG_QUEUE_DRIVER_HIGH, 0);
  set_reg(device, REG_QUEUE_DEVICE_LOW, (uint32_t)(uintptr_t)&queue->used);
  set_reg(device, REG_QUEUE_DEVICE_HIGH, 0);
  set_reg(device, REG_QUEUE_READY, 1);
}

int device_start(struct device* device, uint32_t id, int nth, int queue_count) {
  device->base = 0;
  for (int i = 0; i < 19; ++i) {
    const uint64_t base = VIRTIO_BASE + (uint64_t)i * VIRTIO_STRIDE;
    if (read32(base + REG_MAGIC) != 0x74726976 || read32(base + REG_VERSION) != 2) break;
    if (read32(base + REG_DEVICE_ID) == id && nth-- == 0) {
      device->base = base;
      break;
    }
  }
  if (device->base == 0) return 0;
  device->id = id;
  set_reg(device, REG_STATUS, 0);
  set_reg(device, REG_STATUS, STATUS_ACKNOWLEDGE);
  set_reg(device, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
  for (uint32_t half = 0; half < 2; ++half) {
    set_reg(device, REG_DEVICE_FEATURES_SEL, half);
    uint32_t features = reg(device, REG_DEVICE_FEATURES);
    if (half == 0) features &= ~refused_features;
    set_reg(device, REG_DRIVER_FEATURES_SEL, half);
    set_reg(device, REG_DRIVER_FEATURES, features);
  }
  set_reg(device, REG_STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
  EXPECT(reg(device, REG_STATUS) & STATUS_FEATURES_OK);
  for (int i = 0; i < queue_count; ++i) start_queue(device, i);
  set_reg(device, REG_STATUS,
          STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
  EXPECT(reg(device, REG_STATUS) == 0xf);
  return 1;
}

void queue_submit(struct queue* queue, uint16_t first, const struct descriptor* chain, int count) {
  for (int i = 0; i < count; ++i) {
    struct descriptor* to = &queue->descriptors[first + i];
    *to = chain[i];
    if (i + 1 < count) {
      to->flags |= DESC_NEXT;
      to->next = (uint16_t)(first + i + 1);
    }
  }
  volatile uint16_t* index = &queue->avail.index;
  queue->avail.ring[*index % QUEUE_SIZE] = first;
  __atomic_thread_fence(__ATOMIC_RELEASE);
  *index = (uint16_t)(*index + 1);
}

void queue_kick(struct device* device, int index) {
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  set_reg(device, REG_QUEUE_NOTIFY, (uint32_t)index);
}

int queue_poll(struct device* device, int index, uint32_t* head, uint32_t* length) {
  struct queue* queue = &device->queues[index];
  const volatile uint16_t* used_index = &queue->used.index;
  if (*used_index == queue->next_used) return 0;
  __atomic_thread_fence(__ATOMIC_ACQUIRE);
  const int slot = queue->next_used++ % QUEUE_SIZE;
  if (head != NULL) *head = queue->used.ring[slot].id;
  if (length != NULL) *length = queue->used.ring[slot].length;
  return 1;
}

uint32_t queue_wait(struct device* device, int index, uint32_t* head) {
  uint32_t length = 0;
  while (!queue_poll(device, index, head, &length)) {
    if (reg(device, REG_STATUS) & STATUS_NEEDS_RESET) fail("device needs reset");
  }
  return length;
}
