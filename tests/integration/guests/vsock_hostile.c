// "flood": opens 1,100 connections to host port 1234, and prints how many the host took and
// refused. "credit": sends to port 1234 without regard to its credit until it is reset, then
// connects again. "rules": breaks the rules of packets, one at a time, then connects. "patient":
// sends a mebibyte to port 1234, however long the host takes.
#include "vsock.h"

enum { HOST_PORT = 1234, FLOOD = 1100, FLOOD_PORT = 10000 };

static struct vsock vsock;
static uint8_t pattern[BUFFER_SIZE];

static struct vsock_header header_of(uint32_t port, uint16_t op) {
  return (struct vsock_header){.src_cid = vsock.cid,
                               .dst_cid = 2,
                               .src_port = port,
                               .dst_port = HOST_PORT,
                               .type = 1,
                               .op = op,
                               .buf_alloc = BUF_ALLOC};
}

static void send(uint32_t port, uint16_t op) {
  const struct vsock_header header = header_of(port, op);
  vsock_send_packet(&vsock, &header, 0);
}

static uint16_t next_op(void) {
  struct vsock_header header;
  while (!vsock_poll_packet(&vsock, &header)) continue;
  return header.op;
}

static int is_quiet(void) {
  struct vsock_header header;
  return !vsock_poll_packet(&vsock, &header);
}

static void flood(void) {
  uint32_t taken = 0;
  uint32_t refused = 0;
  for (uint32_t i = 0; i < FLOOD; ++i) {
    send(FLOOD_PORT + i, VSOCK_REQUEST);
    const uint16_t op = next_op();
    EXPECT(op == VSOCK_RESPONSE || op == VSOCK_RST);
    if (op == VSOCK_RESPONSE) ++taken;
    if (op == VSOCK_RST) ++refused;
  }
  print("taken ");
  print_hex(taken);
  print(" refused ");
  print_hex(refused);
  print("\n");
}

static void ignore_credit(void) {
  EXPECT(vsock_connect(&vsock, 5000, HOST_PORT));
  struct vsock_header header = header_of(5000, VSOCK_RW);
  header.length = BUFFER_SIZE;
  for (uint32_t sent = 0;; sent += BUFFER_SIZE) {
    EXPECT(sent < 8U << 20);
    struct vsock_header answer;
    if (vsock_poll_packet(&vsock, &answer) && answer.op == VSOCK_RST) break;
    vsock_send_packet(&vsock, &header, BUFFER_SIZE);
  }
  // What was still under way when it came is answered too.
  while (!is_quiet()) continue;
}

static void expect_reset(struct vsock_header header, uint32_t payload) {
  vsock_send_packet(&vsock, &header, payload);
  EXPECT(next_op() == VSOCK_RST);
}

static void break_rules(void) {
  struct vsock_header header = header_of(6000, VSOCK_RW);
  expect_reset(header, 0);
  header.length = 100;
  expect_reset(header, 99);
  header.length = 65537;
  expect_reset(header, BUFFER_SIZE);
  header.length = UINT32_MAX;
  expect_reset(header, BUFFER_SIZE);

  header = header_of(6000, VSOCK_REQUEST);
  header.dst_cid = 1;
  expect_reset(header, 0);
  header = header_of(6000, VSOCK_REQUEST);
  header.type = 7;
  expect_reset(header, 0);
  expect_reset(header_of(6000, 200), 0);
  expect_reset(header_of(6000, VSOCK_RESPONSE), 0);

  header = header_of(6000, VSOCK_REQUEST);
  header.src_cid = 99;
  vsock_send_packet(&vsock, &header, 0);
  send(6000, VSOCK_RST);
  const uint32_t word = 0;
  const struct descriptor too_short[] = {{(uintptr_t)&word, sizeof(word), 0, 0}};
  queue_submit(&vsock.device.queues[1], 0, too_short, 1);
  queue_kick(&vsock.device, 1);
  queue_wait(&vsock.device, 1, NULL);
  EXPECT(is_quiet());
}

static void write_all(void) {
  EXPECT(vsock_connect(&vsock, 5000, HOST_PORT));
  for (uint32_t i = 0; i < BUFFER_SIZE; ++i) pattern[i] = (uint8_t)(i * 7);
  for (uint32_t sent = 0; sent < 1U << 20; sent += BUFFER_SIZE) {
    vsock_write(&vsock, pattern, BUFFER_SIZE);
  }
  vsock_close(&vsock);
}

int guest_main(const char* command_line) {
  vsock_start(&vsock);
  switch (command_line[0]) {
    case 'f':
      flood();
      return 0;
    case 'c':
      ignore_credit();
      EXPECT(vsock_connect(&vsock, 5001, HOST_PORT));
      return 0;
    case 'r':
      break_rules();
      EXPECT(vsock_connect(&vsock, 6000, HOST_PORT));
      return 0;
    default:
      write_all();
      return 0;
  }
}
