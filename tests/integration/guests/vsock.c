#include "vsock.h"

static uint8_t rx_buffers[RX_BUFFERS][BUFFER_SIZE + 64];
static uint8_t tx_buffer[BUFFER_SIZE + 64];

static void give_rx_buffer(struct vsock* vsock, uint32_t slot) {
  const struct descriptor chain[] = {
      {(uintptr_t)rx_buffers[slot], sizeof(struct vsock_header) + BUFFER_SIZE, DESC_WRITE, 0}};
  queue_submit(&vsock->device.queues[0], (uint16_t)slot, chain, 1);
  queue_kick(&vsock->device, 0);
}

static void send(struct vsock* vsock, uint16_t op, const void* bytes, uint32_t length) {
  struct vsock_header* header = (struct vsock_header*)tx_buffer;
  *header = (struct vsock_header){
      .src_cid = vsock->cid,
      .dst_cid = 2,
      .src_port = vsock->local_port,
      .dst_port = vsock->peer_port,
      .length = length,
      .type = 1,
      .op = op,
      .flags = op == VSOCK_SHUTDOWN ? 3 : 0,
      .buf_alloc = BUF_ALLOC,
      .fwd_cnt = vsock->received,
  };
  vsock->announced = vsock->received;
  memcpy(header + 1, bytes, length);
  const struct descriptor chain[] = {
      {(uintptr_t)tx_buffer, (uint32_t)sizeof(*header) + length, 0, 0}};
  queue_submit(&vsock->device.queues[1], 0, chain, 1);
  queue_kick(&vsock->device, 1);
  queue_wait(&vsock->device, 1, NULL);
}

// The next packet for this connection, in its buffer; NULL if there is none.
static struct vsock_header* poll_packet(struct vsock* vsock, uint32_t* slot) {
  uint32_t length = 0;
  if (!queue_poll(&vsock->device, 0, slot, &length)) return NULL;
  struct vsock_header* header = (struct vsock_header*)rx_buffers[*slot];
  EXPECT(length == sizeof(*header) + header->length);
  vsock->peer_buf_alloc = header->buf_alloc;
  vsock->peer_fwd_cnt = header->fwd_cnt;
  return header;
}

static void handle_control(struct vsock* vsock, const struct vsock_header* header) {
  if (header->op == VSOCK_RST || header->op == VSOCK_SHUTDOWN) vsock->closed = 1;
  if (header->op == VSOCK_CREDIT_REQUEST) send(vsock, VSOCK_CREDIT_UPDATE, NULL, 0);
}

// Takes one packet off the queue if there is one, and keeps its bytes for vsock_read().
static void receive(struct vsock* vsock) {
  uint32_t slot = 0;
  struct vsock_header* header = poll_packet(vsock, &slot);
  if (header == NULL) return;
  if (header->op == VSOCK_RW && header->length > 0) {
    EXPECT(header->length <= BUF_ALLOC - vsock->ring_count);
    const uint8_t* bytes = (const uint8_t*)(header + 1);
    for (uint32_t i = 0; i < header->length; ++i) {
      vsock->ring[(vsock->ring_start + vsock->ring_count++) % BUF_ALLOC] = bytes[i];
    }
    give_rx_buffer(vsock, slot);
    return;
  }
  handle_control(vsock, header);
  give_rx_buffer(vsock, slot);
}

void vsock_start(struct vsock* vsock) {
  memset(vsock, 0, sizeof(*vsock));
  EXPECT(device_start(&vsock->device, ID_VSOCK, 0, 3));
  vsock->cid = read32(vsock->device.base + REG_CONFIG);
  for (uint32_t slot = 0; slot < RX_BUFFERS; ++slot) give_rx_buffer(vsock, slot);
}

int vsock_connect(struct vsock* vsock, uint32_t local_port, uint32_t port) {
  vsock->local_port = local_port;
  vsock->peer_port = port;
  vsock->sent = vsock->received = vsock->announced = 0;
  vsock->closed = 0;
  send(vsock, VSOCK_REQUEST, NULL, 0);
  for (;;) {
    uint32_t slot = 0;
    struct vsock_header* header = poll_packet(vsock, &slot);
    if (header == NULL) continue;
    const uint16_t op = header->op;
    give_rx_buffer(vsock, slot);
    if (op == VSOCK_RESPONSE) return 1;
    if (op == VSOCK_RST) return 0;
  }
}

void vsock_accept(struct vsock* vsock, uint32_t local_port) {
  vsock->sent = vsock->received = vsock->announced = 0;
  vsock->closed = 0;
  for (;;) {
    uint32_t slot = 0;
    struct vsock_header* header = poll_packet(vsock, &slot);
    if (header == NULL) continue;
    const int wanted = header->op == VSOCK_REQUEST && header->dst_port == local_port;
    vsock->local_port = local_port;
    vsock->peer_port = header->src_port;
    give_rx_buffer(vsock, slot);
    if (wanted) break;
  }
  send(vsock, VSOCK_RESPONSE, NULL, 0);
}

void vsock_write(struct vsock* vsock, const void* bytes, uint32_t length) {
  const uint8_t* from = bytes;
  while (length > 0) {
    const uint32_t credit = vsock->peer_buf_alloc - (vsock->sent - vsock->peer_fwd_cnt);
    uint32_t count = length < BUFFER_SIZE ? length : BUFFER_SIZE;
    if (count > credit) count = credit;
    if (count == 0) {
      EXPECT(!vsock->closed);
      receive(vsock);
      continue;
    }
    send(vsock, VSOCK_RW, from, count);
    vsock->sent += count;
    from += count;
    length -= count;
  }
}

uint32_t vsock_read(struct vsock* vsock, void* bytes, uint32_t length) {
  while (vsock->ring_count == 0) {
    if (vsock->closed) return 0;
    receive(vsock);
  }
  uint8_t* to = bytes;
  uint32_t count = 0;
  while (count < length && vsock->ring_count > 0) {
    to[count++] = vsock->ring[vsock->ring_start];
    vsock->ring_start = (vsock->ring_start + 1) % BUF_ALLOC;
    --vsock->ring_count;
  }
  vsock->received += count;
  // Not for every byte: the host may be told late, but before it has no credit left.
  if (vsock->received - vsock->announced >= BUF_ALLOC / 2) {
    send(vsock, VSOCK_CREDIT_UPDATE, NULL, 0);
  }
  return count;
}

void vsock_close(struct vsock* vsock) {
  send(vsock, VSOCK_SHUTDOWN, NULL, 0);
  while (!vsock->closed) receive(vsock);
}

void vsock_send_packet(struct vsock* vsock, const struct vsock_header* header, uint32_t payload) {
  memcpy(tx_buffer, header, sizeof(*header));
  const struct descriptor chain[] = {{(uintptr_t)tx_buffer, sizeof(*header), 0, 0},
                                     {(uintptr_t)rx_buffers, payload, 0, 0}};
  queue_submit(&vsock->device.queues[1], 0, chain, payload > 0 ? 2 : 1);
  queue_kick(&vsock->device, 1);
  queue_wait(&vsock->device, 1, NULL);
}

int vsock_poll_packet(struct vsock* vsock, struct vsock_header* header) {
  uint32_t slot = 0;
  const struct vsock_header* received = poll_packet(vsock, &slot);
  if (received == NULL) return 0;
  memcpy(header, received, sizeof(*header));
  give_rx_buffer(vsock, slot);
  return 1;
}
