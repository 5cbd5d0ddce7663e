#include "hostile.h"

#include "vsock.h"

uint8_t scratch[BUFFER_BYTES] __attribute__((aligned(4096)));
uint8_t canary[BUFFER_BYTES] __attribute__((aligned(4096)));

static void read_sector(struct target* target);
static void send_frame(struct target* target);
static void get_random(struct target* target);
static void connect_to_nobody(struct target* target);

static struct target targets[] = {
    {.name = "blk", .id = ID_BLOCK, .queue_count = 1, .exchange = read_sector},
    {.name = "other disk", .id = ID_BLOCK, .nth = 1, .queue_count = 1, .exchange = read_sector},
    {.name = "net", .id = ID_NET, .queue_count = 2, .queue = 1, .exchange = send_frame},
    {.name = "rng", .id = ID_ENTROPY, .queue_count = 1, .exchange = get_random},
    {.name = "vsock", .id = ID_VSOCK, .queue_count = 3, .queue = 1, .exchange = connect_to_nobody},
};
#define TARGETS (sizeof(targets) / sizeof(targets[0]))

struct queue* abused_queue(struct target* target) { return &target->device.queues[target->queue]; }

void start(struct target* target) {
  EXPECT(device_start(&target->device, target->id, target->nth, target->queue_count));
}

void kick(struct target* target) { queue_kick(&target->device, target->queue); }

uint32_t get(const struct target* target, uint32_t offset) {
  return read32(target->device.base + offset);
}

void set(const struct target* target, uint32_t offset, uint32_t value) {
  write32(target->device.base + offset, value);
}

uint32_t status_of(const struct target* target) { return get(target, REG_STATUS); }

static void read_sector(struct target* target) {
  static struct {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
  } request;
  static uint8_t data[512];
  static volatile uint8_t status;
  request.sector = 1;
  data[0] = 0xee;
  status = 0xee;
  const struct descriptor chain[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                     {(uintptr_t)data, sizeof(data), DESC_WRITE, 0},
                                     {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  queue_submit(abused_queue(target), 0, chain, 3);
  kick(target);
  EXPECT(queue_wait(&target->device, 0, NULL) == 513);
  EXPECT(status == 0 && data[0] == 1 && data[511] == 1);
}

static void send_frame(struct target* target) {
  static uint8_t frame[12 + 60];  // A header without wishes, and a frame to and from nobody
  const struct descriptor chain[] = {{(uintptr_t)frame, sizeof(frame), 0, 0}};
  queue_submit(abused_queue(target), 0, chain, 1);
  kick(target);
  EXPECT(queue_wait(&target->device, target->queue, NULL) == 0);
}

static void get_random(struct target* target) {
  static uint8_t random[64];
  static const uint8_t zero[64];
  memset(random, 0, sizeof(random));
  const struct descriptor chain[] = {{(uintptr_t)random, sizeof(random), DESC_WRITE, 0}};
  queue_submit(abused_queue(target), 0, chain, 1);
  kick(target);
  EXPECT(queue_wait(&target->device, 0, NULL) == sizeof(random));
  EXPECT(memcmp(random, zero, sizeof(random)) != 0);
}

// The host has no service on this port, and says so.
static void connect_to_nobody(struct target* target) {
  static struct vsock_header request;
  static struct {
    struct vsock_header header;
    uint8_t payload[64];
  } answer;
  struct device* device = &target->device;
  memset(&answer, 0, sizeof(answer));
  request = (struct vsock_header){.src_cid = read32(device->base + REG_CONFIG),
                                  .dst_cid = 2,
                                  .src_port = 1024,
                                  .dst_port = 4096,
                                  .type = 1,
                                  .op = VSOCK_REQUEST,
                                  .buf_alloc = BUFFER_BYTES};
  const struct descriptor receive[] = {{(uintptr_t)&answer, sizeof(answer), DESC_WRITE, 0}};
  const struct descriptor send[] = {{(uintptr_t)&request, sizeof(request), 0, 0}};
  queue_submit(&device->queues[0], 0, receive, 1);
  queue_kick(device, 0);
  queue_submit(&device->queues[1], 0, send, 1);
  queue_kick(device, 1);
  queue_wait(device, 1, NULL);
  queue_wait(device, 0, NULL);
  EXPECT(answer.header.op == VSOCK_RST && answer.header.dst_port == 1024);
}

void set_descriptor(struct target* target, int index, uint64_t address, uint32_t length,
                    uint16_t flags, uint16_t next) {
  abused_queue(target)->descriptors[index] = (struct descriptor){address, length, flags, next};
}

void publish(struct target* target, uint16_t head) {
  struct queue* queue = abused_queue(target);
  volatile uint16_t* index = &queue->avail.index;
  queue->avail.ring[*index % QUEUE_SIZE] = head;
  __atomic_thread_fence(__ATOMIC_RELEASE);
  *index = (uint16_t)(*index + 1);
  kick(target);
}

enum outcome wait_used(struct target* target, uint16_t index) {
  const volatile uint16_t* used = &abused_queue(target)->used.index;
  for (int i = 0; i < 50000; ++i) {
    if (*used == index) return USED;
    if (status_of(target) & STATUS_NEEDS_RESET) return BROKEN;
  }
  fail("the device neither answers nor breaks");
}

void expect_broken(struct target* target) {
  struct queue* queue = abused_queue(target);
  const volatile uint16_t* used = &queue->used.index;
  const uint16_t used_before = *used;
  EXPECT(wait_used(target, (uint16_t)(used_before + 1)) == BROKEN);
  EXPECT(status_of(target) == (0xf | STATUS_NEEDS_RESET));
  EXPECT(get(target, REG_INTERRUPT_STATUS) & 2);  // The configuration has changed.
  set_descriptor(target, 0, (uintptr_t)scratch, 16, 0, 0);
  publish(target, 0);
  for (int i = 0; i < 20; ++i) EXPECT(status_of(target) & STATUS_NEEDS_RESET);
  EXPECT(*used == used_before);
  start(target);
  target->exchange(target);
}

uint32_t case_number;

uint32_t next_random(uint32_t* state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

uint32_t pick(uint32_t* state, const uint32_t* values, uint32_t count) {
  return values[next_random(state) % count];
}

void blind_start(struct target* target, uint32_t low_features) {
  set(target, REG_STATUS, 0);
  set(target, REG_STATUS, 1);
  set(target, REG_STATUS, 3);
  set(target, REG_DRIVER_FEATURES_SEL, 0);
  set(target, REG_DRIVER_FEATURES, low_features);
  set(target, REG_DRIVER_FEATURES_SEL, 1);
  set(target, REG_DRIVER_FEATURES, 1);
  set(target, REG_STATUS, 0xb);
  for (int i = 0; i < target->queue_count; ++i) {
    struct queue* const queue = &target->device.queues[i];
    memset(queue, 0, sizeof(*queue));
    set(target, REG_QUEUE_SEL, (uint32_t)i);
    set(target, REG_QUEUE_SIZE, QUEUE_SIZE);
    set(target, REG_QUEUE_DESC_LOW, (uint32_t)(uintptr_t)queue->descriptors);
    set(target, REG_QUEUE_DRIVER_LOW, (uint32_t)(uintptr_t)&queue->avail);
    set(target, REG_QUEUE_DEVICE_LOW, (uint32_t)(uintptr_t)&queue->used);
    set(target, REG_QUEUE_READY, 1);
  }
  set(target, REG_STATUS, 0xf);
}

// Whether the command line's word at `text` is `word`; where the next one begins, in *next.
static int is_word(const char* text, const char* word, const char** next) {
  const size_t length = strlen(word);
  if (memcmp(text, word, length) != 0 || (text[length] != ' ' && text[length] != 0)) return 0;
  *next = text + length + (text[length] == ' ');
  return 1;
}

static const struct hostile_case* find_case(const char* command_line, const char** next) {
  static const struct hostile_case* const lists[] = {ring_cases, register_cases, race_cases,
                                                     random_cases, latency_cases};
  for (int list = 0; list < 5; ++list) {
    for (const struct hostile_case* found = lists[list]; found->name != NULL; ++found) {
      if (is_word(command_line, found->name, next)) return found;
    }
  }
  fail("no such case");
}

int guest_main(const char* command_line) {
  const char* next = NULL;
  const struct hostile_case* const hostile = find_case(command_line, &next);
  struct target* victim = NULL;
  for (size_t i = 0; i < TARGETS; ++i) {
    targets[i].present =
        device_start(&targets[i].device, targets[i].id, targets[i].nth, targets[i].queue_count);
    if (is_word(next, targets[i].name, &next)) victim = &targets[i];
  }
  EXPECT(victim != NULL && victim->present);
  for (; *next >= '0' && *next <= '9'; ++next) {
    case_number = case_number * 10 + (uint32_t)(*next - '0');
  }
  hostile->run(victim);
  for (size_t i = 0; i < TARGETS; ++i) {
    if (targets[i].present && &targets[i] != victim) targets[i].exchange(&targets[i]);
  }
  print("OTHERS WORK\n");
  // The host pauses and stops the machine in the middle of more of it.
  race_on();
  for (;;) kick(victim);
}
