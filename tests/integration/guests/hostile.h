#pragma once

#include "guest.h"

// The hostile guests: each abuses one device and then finds the others working. Which case and
// which device, the command line says: "cycle blk".

#define MEMORY_END 0x20000000U  // The machine has 512 MiB.
#define BUFFER_BYTES 4096

// A device and what it takes to use it.
struct target {
  const char* name;
  uint32_t id;
  int nth;
  int queue_count;
  int queue;  // Where the driver puts its requests.
  // An honest request; fails the guest if it is not answered rightly.
  void (*exchange)(struct target* target);
  struct device device;
  int present;
};

struct hostile_case {
  const char* name;
  void (*run)(struct target* target);
};

// Each in a file of its own; a list ends with a null name.
extern const struct hostile_case ring_cases[];
extern const struct hostile_case register_cases[];
extern const struct hostile_case race_cases[];
extern const struct hostile_case random_cases[];
extern const struct hostile_case latency_cases[];

// The same numbers in every run; `state` is not 0.
uint32_t next_random(uint32_t* state);
uint32_t pick(uint32_t* state, const uint32_t* values, uint32_t count);

// What the command line says behind the device, for the cases that take a number.
extern uint32_t case_number;

// Lets the second vCPU, if the case has one, go on with what it did.
void race_on(void);

// Buffers of a page that no honest request uses.
extern uint8_t scratch[BUFFER_BYTES];
extern uint8_t canary[BUFFER_BYTES];

struct queue* abused_queue(struct target* target);
void start(struct target* target);
void kick(struct target* target);
uint32_t status_of(const struct target* target);
uint32_t get(const struct target* target, uint32_t offset);
void set(const struct target* target, uint32_t offset, uint32_t value);

void set_descriptor(struct target* target, int index, uint64_t address, uint32_t length,
                    uint16_t flags, uint16_t next);
// Puts `head` into the avail ring, moves its index and kicks.
void publish(struct target* target, uint16_t head);
// As device_start() does, but with these features and without a look at what came of it.
void blind_start(struct target* target, uint32_t low_features);
// Waits until the queue's used index is `index`, or the device needs a reset; which of the two, by
// the value. Fails the guest after a second or so.
enum outcome { USED, BROKEN };
enum outcome wait_used(struct target* target, uint16_t index);

// What a device that was broken has to do: say so, use nothing that it was given, then or later,
// and work again after a reset.
void expect_broken(struct target* target);
