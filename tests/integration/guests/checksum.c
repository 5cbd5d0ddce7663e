// Keeps a disk, a network device and a socket busy at the same time, in rounds: writes a block and
// reads it back, sends a frame and waits for its echo, sends the host a message and waits for the
// answer. Each carries the round's number and bytes that follow from it, so that whatever is lost,
// done twice or damaged is seen by one side or the other. An empty answer ends it.
#include "vsock.h"

enum { TYPE_IN = 0, TYPE_OUT = 1 };
enum { RECEIVE = 0, TRANSMIT = 1 };
enum { NET_HEADER = 12, ETHERNET = 14, FRAME = 300, NET_BUFFER = 2048, NET_BUFFERS = 8 };
enum { BLOCK = 4096, BLOCKS = 256, SECTORS_A_BLOCK = 8 };
enum { FRAME_DONE = 6, MESSAGE = 3000 };

struct request {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};
struct frame_header {
  uint32_t length;
  uint16_t type;
  uint16_t reserved;
  uint64_t invocation;
};

static struct device blk;
static struct device net;
static struct vsock vsock;
static struct request request;
static volatile uint8_t status;
static uint8_t block[BLOCK];
static uint8_t read_back[BLOCK];
static uint8_t receive_buffers[NET_BUFFERS][NET_BUFFER];
static uint8_t out[NET_HEADER + FRAME];
static uint8_t message[MESSAGE];
static uint8_t reply[MESSAGE];

// The host computes the same: the number, then bytes of a linear congruential generator.
static void fill(uint8_t* bytes, uint32_t length, uint64_t number) {
  memcpy(bytes, &number, sizeof(number));
  uint64_t state = number;
  for (uint32_t i = sizeof(number); i < length; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    bytes[i] = (uint8_t)(state >> 56);
  }
}

static void check(const uint8_t* bytes, uint32_t length, uint64_t number) {
  uint64_t found = 0;
  memcpy(&found, bytes, sizeof(found));
  if (found < number) fail("something came twice");
  if (found > number) fail("something was lost");
  uint64_t state = number;
  for (uint32_t i = sizeof(number); i < length; ++i) {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    EXPECT(bytes[i] == (uint8_t)(state >> 56));
  }
}

static void submit_block(uint32_t type, uint64_t round, uint8_t* data) {
  request = (struct request){type, 0, round % BLOCKS * SECTORS_A_BLOCK};
  status = 0xee;
  const struct descriptor chain[] = {
      {(uintptr_t)&request, sizeof(request), 0, 0},
      {(uintptr_t)data, BLOCK, type == TYPE_OUT ? 0 : DESC_WRITE, 0},
      {(uintptr_t)&status, 1, DESC_WRITE, 0},
  };
  queue_submit(&blk.queues[0], 0, chain, 3);
  queue_kick(&blk, 0);
}

static void wait_for_block(void) {
  queue_wait(&blk, 0, NULL);
  EXPECT(status == 0);
}

static void give(uint32_t slot) {
  const struct descriptor chain[] = {{(uintptr_t)receive_buffers[slot], NET_BUFFER, DESC_WRITE, 0}};
  queue_submit(&net.queues[RECEIVE], (uint16_t)slot, chain, 1);
  queue_kick(&net, RECEIVE);
}

static void submit_frame(uint64_t round) {
  memset(out, 0, NET_HEADER);
  memset(out + NET_HEADER, 0xff, 6);
  memcpy(out + NET_HEADER + 6, (const uint8_t[]){0x02, 0, 0, 0, 0, 1, 0x88, 0xb5}, 8);
  fill(out + NET_HEADER + ETHERNET, FRAME - ETHERNET, round);
  const struct descriptor chain[] = {{(uintptr_t)out, sizeof(out), 0, 0}};
  queue_submit(&net.queues[TRANSMIT], 0, chain, 1);
  queue_kick(&net, TRANSMIT);
}

static void wait_for_echo(uint64_t round) {
  queue_wait(&net, TRANSMIT, NULL);
  for (;;) {
    uint32_t slot = 0;
    queue_wait(&net, RECEIVE, &slot);
    const uint8_t* frame = receive_buffers[slot] + NET_HEADER;
    const int ours = frame[12] == 0x88 && frame[13] == 0xb5;
    if (ours) check(frame + ETHERNET, FRAME - ETHERNET, round);
    give(slot);
    if (ours) return;
  }
}

static void read_all(void* bytes, uint32_t length) {
  uint8_t* to = bytes;
  while (length > 0) {
    const uint32_t count = vsock_read(&vsock, to, length);
    EXPECT(count > 0);
    to += count;
    length -= count;
  }
}

// 0 if the host has had enough.
static int talk(uint64_t round) {
  struct frame_header header = {MESSAGE, FRAME_DONE, 0, round};
  fill(message, MESSAGE, round);
  vsock_write(&vsock, &header, sizeof(header));
  vsock_write(&vsock, message, MESSAGE);
  read_all(&header, sizeof(header));
  EXPECT(header.invocation == round && header.length <= MESSAGE);
  if (header.length == 0) return 0;
  read_all(reply, header.length);
  check(reply, header.length, round);
  return 1;
}

int guest_main(const char* command_line) {
  (void)command_line;
  EXPECT(device_start(&blk, ID_BLOCK, 0, 1));
  EXPECT(device_start(&net, ID_NET, 0, 2));
  for (uint32_t slot = 0; slot < NET_BUFFERS; ++slot) give(slot);
  vsock_start(&vsock);
  EXPECT(vsock_connect(&vsock, 5000, 1024));
  int more = 1;
  for (uint64_t round = 1; more; ++round) {
    fill(block, BLOCK, round);
    submit_block(TYPE_OUT, round, block);
    submit_frame(round);
    more = talk(round);
    wait_for_block();
    submit_block(TYPE_IN, round, read_back);
    wait_for_echo(round);
    wait_for_block();
    check(read_back, BLOCK, round);
  }
  return 0;
}
