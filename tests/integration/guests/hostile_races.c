// Storms of accesses, and two vCPUs on one device.
#include "hostile.h"

#include "smp.h"

#define IOAPIC_SELECT 0xfec00000
#define IOAPIC_WINDOW 0xfec00010
#define LAPIC_SPURIOUS 0xfee000f0

static void kick_storm(struct target* target) {
  set(target, REG_STATUS, 0);
  for (int i = 0; i < 1000; ++i) kick(target);
  start(target);
  const uint16_t used = abused_queue(target)->used.index;
  for (uint32_t i = 0; i < 10000; ++i) kick(target);
  for (uint32_t i = 0; i < 1000; ++i) {
    set(target, REG_QUEUE_NOTIFY, (uint32_t)target->queue_count + i * 0x01000193);
  }
  EXPECT(status_of(target) == 0xf);
  EXPECT(abused_queue(target)->used.index == used);
  target->exchange(target);
}

// The device's pin gives vector 0x40, which waits in the local APIC: nobody takes it.
static void unmask_interrupt(const struct target* target) {
  const uint32_t pin = 5 + (uint32_t)((target->device.base - VIRTIO_BASE) / VIRTIO_STRIDE);
  write32(LAPIC_SPURIOUS, 0x1ff);
  write32(IOAPIC_SELECT, 0x11 + 2 * pin);
  write32(IOAPIC_WINDOW, 0);
  write32(IOAPIC_SELECT, 0x10 + 2 * pin);
  write32(IOAPIC_WINDOW, 0x40);
}

// It may come a little after the used index.
static void wait_interrupt(struct target* target) {
  for (int i = 0; i < 50000; ++i) {
    if (get(target, REG_INTERRUPT_STATUS) == 1) return;
  }
  fail("no interrupt");
}

static void interrupts_ignored(struct target* target) {
  start(target);
  unmask_interrupt(target);
  volatile uint16_t* const flags = &abused_queue(target)->avail.flags;
  *flags = 0;
  for (int i = 0; i < 100; ++i) {
    target->exchange(target);
    set(target, REG_INTERRUPT_ACK, 0xfffffffc);
  }
  wait_interrupt(target);
  // The pin masked and unmasked in between: the route changes while it is in use.
  for (int i = 0; i < 20; ++i) {
    write32(IOAPIC_WINDOW, 0x10040);
    write32(IOAPIC_WINDOW, 0x40);
    target->exchange(target);
  }
  *flags = 1;
  target->exchange(target);
  set(target, REG_INTERRUPT_ACK, 0xffffffff);
  EXPECT(get(target, REG_INTERRUPT_STATUS) == 0);
  *flags = 0;
  target->exchange(target);
  wait_interrupt(target);
}

// EVENT_IDX: what the driver asks to be woken for is any number. It gets its answers all the same,
// and its interrupt once it asks rightly.
static void random_used_event(struct target* target) {
  blind_start(target, 1U << 29);
  unmask_interrupt(target);
  struct queue* const queue = abused_queue(target);
  volatile uint16_t* const used_event = &queue->avail.used_event;
  uint32_t state = 0x2545f491;
  for (int i = 0; i < 100; ++i) {
    *used_event = (uint16_t)next_random(&state);
    target->exchange(target);
  }
  set(target, REG_INTERRUPT_ACK, 3);
  *used_event = *(volatile uint16_t*)&queue->used.index;
  target->exchange(target);
  wait_interrupt(target);
}

// The second vCPU. It runs its turns while `racing` is set, and says with `parked` that it does
// not.
static struct target* volatile raced;
static volatile int racing;
static volatile int parked;

static void start_race(struct target* target, void (*racer)(void)) {
  raced = target;
  racing = 1;
  parked = 1;
  start_second_vcpu(racer);
  while (parked) {
  }
}

static void end_race(void) {
  racing = 0;
  while (!parked) {
  }
}

static void wait_for_turn(void) {
  while (!racing) parked = 1;
  parked = 0;
}

void race_on(void) { racing = raced != NULL; }

// A request whose header, addresses, lengths, flags and links are now right and now wrong.
static void rewrite_request(void) {
  static const uint32_t addresses[] = {0xd0000000, MEMORY_END - 8, 0xffffffff};
  static const uint32_t lengths[] = {1, 16, 512, 0xffffffff};
  static const uint32_t flags[] = {0, DESC_NEXT, DESC_NEXT | DESC_WRITE, DESC_WRITE, DESC_INDIRECT};
  static const uint32_t links[] = {0, 1, 2, QUEUE_SIZE};
  static const uint32_t types[] = {0, 1, 4, 8, 99};
  static const uint32_t sectors[] = {5, 8, 0xffffffff};
  volatile struct descriptor* const table = abused_queue(raced)->descriptors;
  volatile uint32_t* const header = (volatile uint32_t*)scratch;
  uint32_t state = 0x9e3779b9;
  for (;;) {
    wait_for_turn();
    const uint32_t index = pick(&state, links, 3);
    table[index].address = pick(&state, addresses, 3);
    table[index].length = pick(&state, lengths, 4);
    table[index].flags = (uint16_t)pick(&state, flags, 5);
    table[index].next = (uint16_t)pick(&state, links, 4);
    header[0] = pick(&state, types, 5);
    header[2] = pick(&state, sectors, 3);
    table[index].address = (uintptr_t)scratch;
    table[index].length = 512;
    table[0].flags = DESC_NEXT;
    table[1].flags = DESC_NEXT | DESC_WRITE;
    table[2].flags = DESC_WRITE;
  }
}

static void racing_request(struct target* target) {
  start(target);
  start_race(target, rewrite_request);
  int broken = 0;
  for (int i = 0; i < 300; ++i) {
    const uint16_t used = *(volatile uint16_t*)&abused_queue(target)->used.index;
    publish(target, 0);
    if (wait_used(target, (uint16_t)(used + 1)) == BROKEN) {
      ++broken;
      start(target);
    }
  }
  end_race();
  EXPECT(broken > 0);
  start(target);
  target->exchange(target);
}

// The device's own ring, written all over while it is in use. It does not read it, so it goes on.
static void rewrite_used_ring(void) {
  volatile uint32_t* const ring = (volatile uint32_t*)&abused_queue(raced)->used;
  uint32_t state = 1;
  for (;;) {
    wait_for_turn();
    for (size_t i = 0; i < sizeof(raced->device.queues[0].used) / 4; ++i) {
      ring[i] = next_random(&state);
    }
  }
}

static void racing_used_ring(struct target* target) {
  start(target);
  start_race(target, rewrite_used_ring);
  for (int i = 0; i < 1000; ++i) {
    set_descriptor(target, 0, (uintptr_t)scratch, 0, 0, 0);
    publish(target, 0);
    // A device on another thread may lag by more than a ring, which is not what this is about.
    if (status_of(target) & STATUS_NEEDS_RESET) start(target);
  }
  end_race();
  start(target);
  target->exchange(target);
}

// A ring full of requests is in flight, on another thread or on this one, when the device is reset.
static void reset_in_flight(struct target* target) {
  for (int i = 0; i < 300; ++i) {
    start(target);
    set_descriptor(target, 0, (uintptr_t)scratch, 16, DESC_NEXT, 1);
    set_descriptor(target, 1, (uintptr_t)canary, 513, DESC_WRITE, 0);
    struct queue* const queue = abused_queue(target);
    *(volatile uint16_t*)&queue->avail.index = QUEUE_SIZE;  // All of them descriptor 0.
    kick(target);
    set(target, REG_STATUS, 0);
    EXPECT(status_of(target) == 0);
    // Nothing is touched once the reset is done.
    const uint16_t used = *(volatile uint16_t*)&queue->used.index;
    for (int j = 0; j < 3; ++j) EXPECT(status_of(target) == 0);
    EXPECT(*(volatile uint16_t*)&queue->used.index == used);
  }
  start(target);
  target->exchange(target);
}

static void reset_without_end(void) {
  for (;;) {
    wait_for_turn();
    set(raced, REG_STATUS, 0);
  }
}

static void racing_reset(struct target* target) {
  start_race(target, reset_without_end);
  for (int i = 0; i < 300; ++i) {
    blind_start(target, 0);
    publish(target, 0);
  }
  end_race();
  start(target);
  target->exchange(target);
}

const struct hostile_case race_cases[] = {
    {"kick-storm", kick_storm},
    {"interrupts-ignored", interrupts_ignored},
    {"random-used-event", random_used_event},
    {"racing-request", racing_request},
    {"racing-used-ring", racing_used_ring},
    {"reset-in-flight", reset_in_flight},
    {"racing-reset", racing_reset},
    {NULL, NULL},
};
