// A vsock connection to port 1234 of the host: round trips of a few bytes, and bytes one way in
// packets of 64 KiB. Bytes that come are counted where they lie.
#include "bench_guest.h"
#include "vsock.h"

enum { RECEIVE = 0, TRANSMIT = 1, QUEUES = 3 };
enum { PAYLOAD = 64 << 10, BUFFERS = 32, SENDING = 16, WINDOW = BUFFERS * PAYLOAD };
enum { LOCAL_PORT = 5000, HOST_PORT = 1234, WARM_UP = 64 };

// TICKS SIZE
enum { TICKS, SIZE };

struct packet {
  struct vsock_header header;
  uint8_t payload[PAYLOAD];
};

static struct device device;
static struct packet incoming[BUFFERS] __attribute__((aligned(4096)));
static struct packet outgoing[SENDING] __attribute__((aligned(4096)));
static uint64_t cid;
static uint32_t sent, received, announced, peer_buf_alloc, peer_fwd_cnt;
static uint32_t free_slots = (1U << SENDING) - 1;
static uint64_t packets;

static void give(uint32_t slot) {
  const struct descriptor chain[] = {
      {(uintptr_t)&incoming[slot], sizeof(struct packet), DESC_WRITE, 0}};
  queue_submit(&device.queues[RECEIVE], (uint16_t)slot, chain, 1);
}

static void reap(void) {
  uint32_t slot = 0;
  while (queue_poll(&device, TRANSMIT, &slot, NULL)) free_slots |= 1U << slot;
  want_no_interrupt(&device.queues[TRANSMIT]);
}

static void submit(uint16_t op, uint32_t length) {
  while (free_slots == 0) reap();
  const uint32_t slot = (uint32_t)__builtin_ctz(free_slots);
  free_slots &= ~(1U << slot);
  outgoing[slot].header = (struct vsock_header){.src_cid = cid,
                                                .dst_cid = 2,
                                                .src_port = LOCAL_PORT,
                                                .dst_port = HOST_PORT,
                                                .length = length,
                                                .type = 1,
                                                .op = op,
                                                .buf_alloc = WINDOW,
                                                .fwd_cnt = received};
  announced = received;
  sent += length;
  ++packets;
  const struct descriptor chain[] = {
      {(uintptr_t)&outgoing[slot], (uint32_t)sizeof(struct vsock_header) + length, 0, 0}};
  queue_submit(&device.queues[TRANSMIT], (uint16_t)slot, chain, 1);
}

static void send(uint16_t op, uint32_t length) {
  const uint16_t old = device.queues[TRANSMIT].avail.index;
  submit(op, length);
  kick_if_wanted(&device, TRANSMIT, old);
}

// Takes what has come and returns how many bytes that were. Credit goes back when half is used.
static uint32_t receive(void) {
  const uint16_t old = device.queues[RECEIVE].avail.index;
  uint32_t bytes = 0;
  uint32_t slot = 0;
  while (queue_poll(&device, RECEIVE, &slot, NULL)) {
    const struct vsock_header* header = &incoming[slot].header;
    EXPECT(header->op != VSOCK_RST && header->op != VSOCK_SHUTDOWN);
    peer_buf_alloc = header->buf_alloc;
    peer_fwd_cnt = header->fwd_cnt;
    bytes += header->length;
    ++packets;
    give(slot);
  }
  received += bytes;
  want_no_interrupt(&device.queues[RECEIVE]);
  if (device.queues[RECEIVE].avail.index != old) kick_if_wanted(&device, RECEIVE, old);
  if (received - announced >= WINDOW / 2) send(VSOCK_CREDIT_UPDATE, 0);
  return bytes;
}

static void connect(void) {
  EXPECT(device_start(&device, ID_VSOCK, 0, QUEUES));
  cid = read32(device.base + REG_CONFIG);
  for (int i = 0; i < QUEUES - 1; ++i) want_no_interrupt(&device.queues[i]);
  memset(outgoing, 0x5a, sizeof(outgoing));
  for (uint32_t slot = 0; slot < BUFFERS; ++slot) give(slot);
  kick_if_wanted(&device, RECEIVE, 0);
  send(VSOCK_REQUEST, 0);
  while (peer_buf_alloc == 0) receive();
}

// Packets are what kicks are for, so it is them that are counted against kicks.
static void end(uint64_t now, uint64_t operations, uint64_t bytes) {
  finish(now, operations, bytes);
  result()->all_operations = packets;
}

static void round_trip(uint32_t size) {
  const uint64_t before = rdtsc();
  send(VSOCK_RW, size);
  for (uint32_t back = 0; back < size; back += receive()) {
  }
  sample(rdtsc() - before);
  reap();
}

void bench_vsock_round_trip(const numbers n) {
  connect();
  for (int i = 0; i < WARM_UP; ++i) round_trip((uint32_t)n[SIZE]);
  const uint64_t start = rdtsc();
  begin(start);
  uint64_t operations = 0;
  while (operations == 0 || rdtsc() - start < n[TICKS]) {
    round_trip((uint32_t)n[SIZE]);
    ++operations;
  }
  end(rdtsc(), operations, operations * n[SIZE]);
}

// As many packets as credit and buffers are there for; their bytes.
static uint64_t send_some(uint32_t size) {
  receive();
  reap();
  const uint16_t old = device.queues[TRANSMIT].avail.index;
  uint64_t bytes = 0;
  while (free_slots != 0 && peer_buf_alloc - (sent - peer_fwd_cnt) >= size) {
    submit(VSOCK_RW, size);
    bytes += size;
  }
  if (bytes > 0) kick_if_wanted(&device, TRANSMIT, old);
  return bytes;
}

void bench_vsock_send(const numbers n) {
  connect();
  const uint32_t size = (uint32_t)n[SIZE];
  uint64_t bytes = 0;
  while (bytes < (uint64_t)WARM_UP * size) bytes += send_some(size);
  const uint64_t start = rdtsc();
  begin(start);
  bytes = 0;
  while (bytes == 0 || rdtsc() - start < n[TICKS]) bytes += send_some(size);
  end(rdtsc(), bytes / size, bytes);
}

void bench_vsock_receive(const numbers n) {
  connect();
  uint64_t bytes = 0;
  while (bytes < (uint64_t)WARM_UP * PAYLOAD) bytes += receive();
  const uint64_t start = rdtsc();
  begin(start);
  bytes = 0;
  while (bytes == 0 || rdtsc() - start < n[TICKS]) bytes += receive();
  end(rdtsc(), (bytes + PAYLOAD - 1) / PAYLOAD, bytes);
}
