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

struct vsock {
  struct device device;
  uint64_t cid;
  uint32_t local_port;
  uint32_t peer_port;
  uint32_t sent;           // Bytes, for credit
  uint32_t received;
  uint32_t peer_buf_alloc;
  uint32_t peer_fwd_cnt;
  // What a packet brought that vsock_read() has not handed out yet.
  const uint8_t* pending;
  uint32_t pending_length;
  uint32_t pending_slot;
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
