// Drives the first virtio-net device, whose other end the test has. The command line says how; a
// byte on the serial port means "go on".
#include "guest.h"

enum { RECEIVE = 0, TRANSMIT = 1 };
enum { HEADER = 12, ETHERNET = 14, BUFFER = 2048, BUFFERS = 8 };

struct header {
  uint8_t flags;
  uint8_t gso_type;
  uint16_t hdr_len;
  uint16_t gso_size;
  uint16_t csum_start;
  uint16_t csum_offset;
  uint16_t num_buffers;
};

static struct device net;
static uint8_t buffers[BUFFERS][BUFFER];
static uint8_t out[HEADER + 65550 + 1];

static int is(const char* command_line, const char* word) {
  return strlen(command_line) == strlen(word) && memcmp(command_line, word, strlen(word)) == 0;
}

static int told_to_go_on(void) {
  if ((inb(0x3f8 + 5) & 1) == 0) return 0;
  inb(0x3f8);
  return 1;
}

static void wait_to_go_on(void) {
  while (!told_to_go_on()) {
  }
}

static uint32_t needs_reset(void) { return read32(net.base + REG_STATUS) & STATUS_NEEDS_RESET; }

static void give(uint32_t slot) {
  const struct descriptor chain[] = {{(uintptr_t)buffers[slot], BUFFER, DESC_WRITE, 0}};
  queue_submit(&net.queues[RECEIVE], (uint16_t)slot, chain, 1);
}

static void give_all(void) {
  for (uint32_t slot = 0; slot < BUFFERS; ++slot) give(slot);
  queue_kick(&net, RECEIVE);
}

// Waits for a frame with the test's EtherType; its slot.
static uint32_t receive(uint32_t* length) {
  for (;;) {
    uint32_t slot = 0;
    *length = queue_wait(&net, RECEIVE, &slot);
    EXPECT(((const struct header*)buffers[slot])->num_buffers == 1);
    const uint8_t* frame = buffers[slot] + HEADER;
    if (frame[12] == 0x88 && frame[13] == 0xb5) return slot;
    give(slot);
    queue_kick(&net, RECEIVE);
  }
}

static void send_bytes(const void* bytes, uint32_t length) {
  const struct descriptor chain[] = {{(uintptr_t)bytes, length, 0, 0}};
  queue_submit(&net.queues[TRANSMIT], 0, chain, 1);
  queue_kick(&net, TRANSMIT);
  uint32_t head = 1;
  EXPECT(queue_wait(&net, TRANSMIT, &head) == 0 && head == 0);
}

// A frame to everybody whose first byte of data is `mark`, of `length` bytes with its header, which
// `header` replaces if it is not null.
static void send_frame(uint8_t mark, uint32_t length, const struct header* header) {
  memset(out, 0, sizeof(out));
  if (header != NULL) memcpy(out, header, HEADER);
  memset(out + HEADER, 0xff, 6);
  memcpy(out + HEADER + 6, (const uint8_t[]){0x02, 0, 0, 0, 0, 1}, 6);
  out[HEADER + 12] = 0x88;
  out[HEADER + 13] = 0xb5;
  out[HEADER + ETHERNET] = mark;
  send_bytes(out, length);
}

static void check_config(void) {
  EXPECT(read32(net.base + REG_CONFIG) == 0x00000002);             // MAC 02:00:00:00 ...
  EXPECT((read32(net.base + REG_CONFIG + 4) & 0xffff) == 0x0100);  // ... 00:01
  EXPECT(read32(net.base + REG_CONFIG + 4) >> 16 == 1);            // The link is up.
  EXPECT(read32(net.base + REG_CONFIG + 8) >> 16 == 1400);         // MTU
}

// Sends every frame back, with its addresses exchanged, until one begins with 'Q'.
static void echo(void) {
  give_all();
  print("ready\n");
  for (;;) {
    uint32_t length = 0;
    const uint32_t slot = receive(&length);
    uint8_t* frame = buffers[slot] + HEADER;
    const uint8_t mark = frame[ETHERNET];
    memcpy(out + HEADER, frame + 6, 6);
    memcpy(out + HEADER + 6, frame, 6);
    memcpy(out + HEADER + 12, frame + 12, length - HEADER - 12);
    memset(out, 0, HEADER);
    give(slot);
    queue_kick(&net, RECEIVE);
    send_bytes(out, length);
    if (mark == 'Q') return;
  }
}

// No buffers while the host floods; then some, and everything works.
static void starve(void) {
  print("ready\n");
  wait_to_go_on();
  echo();
}

// Frames that are none; 'M' is the mark of what must not arrive, 'H' of an honest frame.
static void send_malformed(void) {
  print("ready\n");
  wait_to_go_on();
  static const uint32_t lengths[] = {0, 1, 11, 12, 13, 25, sizeof(out)};
  for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); ++i) {
    send_frame('M', lengths[i], NULL);
  }
  static const struct header headers[] = {
      {.flags = 1, .gso_type = 1, .gso_size = 0, .csum_start = 34, .csum_offset = 16},
      {.flags = 0, .gso_type = 1, .gso_size = 100, .csum_start = 34, .csum_offset = 16},
      {.flags = 1, .gso_type = 4, .gso_size = 100, .csum_start = 0xfff0, .csum_offset = 16},
      {.flags = 1, .gso_type = 0, .csum_start = 0xffff, .csum_offset = 0xffff},
      {.flags = 1, .gso_type = 3, .gso_size = 100, .csum_start = 34, .csum_offset = 6},
      {.flags = 1, .gso_type = 0xff, .gso_size = 1, .csum_start = 34, .csum_offset = 16},
  };
  for (unsigned i = 0; i < sizeof(headers) / sizeof(headers[0]); ++i) {
    send_frame('M', 200, &headers[i]);
  }
  // A device that took these for what they are would be broken: hints and flags to be ignored.
  static const struct header harmless = {
      .flags = 0xfe, .hdr_len = 0xffff, .csum_start = 0xffff, .num_buffers = 0xffff};
  send_frame('H', 200, &harmless);
  EXPECT(!needs_reset());
  // One descriptor of the chain is writable: that part is not the device's to read.
  const struct descriptor mixed[] = {{(uintptr_t)out, 20, 0, 0},
                                     {(uintptr_t)out + 20, 180, DESC_WRITE, 0}};
  queue_submit(&net.queues[TRANSMIT], 0, mixed, 2);
  queue_kick(&net, TRANSMIT);
  EXPECT(queue_wait(&net, TRANSMIT, NULL) == 0);
  send_frame('H', 201, NULL);
}

static void expect_broken(void) {
  for (int i = 0; i < 100000 && !needs_reset(); ++i) {
  }
  EXPECT(needs_reset());
  EXPECT(device_start(&net, ID_NET, 0, 2));
}

// Receive buffers that are none, and rings that cannot be; after each the device works again.
static void break_rings(void) {
  static const struct descriptor useless[] = {
      {(uintptr_t)buffers[0], 0, DESC_WRITE, 0},
      {(uintptr_t)buffers[0], 12, DESC_WRITE, 0},
      {(uintptr_t)buffers[0], BUFFER, 0, 0},
  };
  for (uint16_t i = 0; i < 3; ++i) queue_submit(&net.queues[RECEIVE], i, &useless[i], 1);
  queue_kick(&net, RECEIVE);
  for (int i = 0; i < 3; ++i) EXPECT(queue_wait(&net, RECEIVE, NULL) == 0);

  static const struct descriptor outside[] = {
      {0xc0000000, BUFFER, DESC_WRITE, 0},          // The hole
      {VIRTIO_BASE, BUFFER, DESC_WRITE, 0},         // The device's own registers
      {0xfffffffffffff000, 0x2000, DESC_WRITE, 0},  // Wraps
      {(128 << 20) - 8, BUFFER, DESC_WRITE, 0},     // Across the end of memory
      {(uintptr_t)buffers[0], BUFFER, DESC_WRITE | DESC_NEXT, 0},
      {(uintptr_t)buffers[0], BUFFER, DESC_WRITE | DESC_INDIRECT, 0},
  };
  for (unsigned i = 0; i < sizeof(outside) / sizeof(outside[0]); ++i) {
    queue_submit(&net.queues[RECEIVE], 0, &outside[i], 1);
    queue_kick(&net, RECEIVE);
    expect_broken();
    struct descriptor frame = outside[i];
    frame.flags &= (uint16_t)~DESC_WRITE;
    queue_submit(&net.queues[TRANSMIT], 0, &frame, 1);
    queue_kick(&net, TRANSMIT);
    expect_broken();
  }
  net.queues[RECEIVE].avail.index = QUEUE_SIZE + 1;
  queue_kick(&net, RECEIVE);
  expect_broken();
  for (int i = 0; i < 1000; ++i) {
    queue_kick(&net, RECEIVE);
    queue_kick(&net, TRANSMIT);
    queue_kick(&net, 2);
  }
  echo();
}

// Sends until it is told to stop, whatever becomes of the other end.
static void send_on(void) {
  print("ready\n");
  while (!told_to_go_on()) send_frame('H', 200, NULL);
  EXPECT(!needs_reset());
}

// Says each change of the link.
static void watch_link(void) {
  print("ready\n");
  while (read32(net.base + REG_CONFIG + 4) >> 16 == 1) {
  }
  EXPECT(read32(net.base + REG_INTERRUPT_STATUS) & 2);
  send_frame('M', 200, NULL);
  print("down\n");
  while (read32(net.base + REG_CONFIG + 4) >> 16 == 0) {
  }
  send_frame('H', 200, NULL);
}

int guest_main(const char* command_line) {
  EXPECT(device_start(&net, ID_NET, 0, 2));
  check_config();
  if (is(command_line, "echo")) {
    echo();
  } else if (is(command_line, "starve")) {
    starve();
  } else if (is(command_line, "malformed")) {
    send_malformed();
  } else if (is(command_line, "rings")) {
    break_rings();
  } else if (is(command_line, "send-on")) {
    send_on();
  } else if (is(command_line, "link")) {
    watch_link();
  } else {
    fail("unknown command line");
  }
  return 0;
}
