// Says who it is after its doorbell: CID and MAC as its drivers read them, whether it was told of
// another CID, its generation, and the entropy that it was given. The command line is "told" if it
// gives the vsock device a buffer for events, and "told aloud" if it says when that is done, too.
#include "guest.h"

#define RESTORE_PAGE 0xde000ULL
#define PAGE_GENERATION (*(volatile uint64_t*)(RESTORE_PAGE + 16))
#define PAGE_ENTROPY (*(volatile uint64_t*)(RESTORE_PAGE + 32))
#define GENERATION_ID (*(volatile uint64_t*)0xdf100ULL)
enum { DOORBELL = 0x610, READY = 1, EVENT_QUEUE = 2 };

static struct device vsock;
static struct device net;
static uint32_t event = 0xffffffff;

static void say(const char* what, uint64_t value) {
  print(what);
  print_hex(value);
  print("\n");
}

int guest_main(const char* command_line) {
  const int has_vsock = device_start(&vsock, ID_VSOCK, 0, 3);
  const int has_net = device_start(&net, ID_NET, 0, 2);
  if (has_vsock && command_line[0] == 't') {
    const struct descriptor buffer[] = {{(uintptr_t)&event, sizeof(event), DESC_WRITE, 0}};
    queue_submit(&vsock.queues[EVENT_QUEUE], 0, buffer, 1);
    queue_kick(&vsock, EVENT_QUEUE);
  }
  const uint64_t generation = PAGE_GENERATION;
  if (command_line[0] == 't' && command_line[4] != 0) print("ready\n");
  do {
    outl(DOORBELL, READY);
  } while (PAGE_GENERATION == generation);
  if (has_vsock && command_line[0] == 't') {
    queue_wait(&vsock, EVENT_QUEUE, NULL);
    say("event ", event);
  }
  if (has_vsock) say("cid ", read32(vsock.base + REG_CONFIG));
  if (has_net) {
    say("mac ", read32(net.base + REG_CONFIG));
    say("mac ", *(volatile uint16_t*)(net.base + REG_CONFIG + 4));
  }
  say("generation ", GENERATION_ID);
  say("entropy ", PAGE_ENTROPY);
  return 0;
}
