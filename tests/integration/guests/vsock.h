#pragma once

#include "guest.h"

// A polling virtio-vsock driver (virtio 1.2, section 5.10) for one connection at a time.

enum {
  VSOCK_REQUEST = 1,
  VSOCK_RESPONSE = 2,
  VSOCK_RST = 3,
  VSOCK_SHUTDOWN = 4,
  VSOCK_RW = 5,
  VSOCK_CREDIT_UPDATE = 6,
  VSOCK_CREDIT_REQUEST = 7,
};

struct vsock_header {
  uint64_t src_cid;
  uint64_t dst_cid;
  uint32_t src_port;
  uint32_t dst_port;
  uint32_t length;
  uint16_t type;
  uint16_t op;
  uint32_t flags;
  uint32_t buf_alloc;
  uint32_t fwd_cnt;
} __attribute__((packed));

#define RX_BUFFERS 4
#define BUFFER_SIZE 8192
#define BUF_ALLOC (4 * BUFFER_SIZE)

struct vsock {
  struct device device;
  uint64_t cid;
  uint32_t local_port;
  uint32_t peer_port;
  uint32_t sent;  // Bytes, for credit
  uint32_t received;
  uint32_t announced;  // Of `received`, what the host was told
  uint32_t peer_buf_alloc;
  uint32_t peer_fwd_cnt;
  // Received and not yet handed out by vsock_read(): as much as the host may send ahead.
  uint8_t ring[BUF_ALLOC];
  uint32_t ring_start;
  uint32_t ring_count;
  int closed;
};

void vsock_start(struct vsock* vsock);
// To host port `port`; 1 if the host accepted, 0 if it reset.
int vsock_connect(struct vsock* vsock, uint32_t local_port, uint32_t port);
// Waits for the host to connect to `local_port`.
void vsock_accept(struct vsock* vsock, uint32_t local_port);
void vsock_write(struct vsock* vsock, const void* bytes, uint32_t length);
// At least one byte, at most `length`; 0 once the host has closed.
uint32_t vsock_read(struct vsock* vsock, void* bytes, uint32_t length);
void vsock_close(struct vsock* vsock);

// For guests that break the rules: a packet as given, with `payload` bytes of anything behind the
// header; and the next packet's header, if there is one.
void vsock_send_packet(struct vsock* vsock, const struct vsock_header* header, uint32_t payload);
int vsock_poll_packet(struct vsock* vsock, struct vsock_header* header);
