// Asks virtio-rng for bytes twice.
#include "guest.h"

static struct device rng;
static uint8_t first[64];
static uint8_t second[64];

static void fill(uint8_t* buffer) {
  const struct descriptor chain[] = {{(uintptr_t)buffer, 64, DESC_WRITE, 0}};
  queue_submit(&rng.queues[0], 0, chain, 1);
  queue_kick(&rng, 0);
  EXPECT(queue_wait(&rng, 0, NULL) == 64);
}

int guest_main(const char* command_line) {
  (void)command_line;
  EXPECT(device_start(&rng, ID_ENTROPY, 0, 1));
  fill(first);
  fill(second);
  EXPECT(memcmp(first, second, sizeof(first)) != 0);
  return 0;
}
