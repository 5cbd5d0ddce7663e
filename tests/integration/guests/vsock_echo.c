// "connect": connects to host port 1234 and echoes until the host closes.
// "accept": waits for the host on port 52, and does the same.
// "again": connects to host port 1234, starts its driver anew, and goes on like "connect".
// "refused": connects to a host port where nobody listens.
#include "vsock.h"

static struct vsock vsock;
static uint8_t buffer[4096];

int guest_main(const char* command_line) {
  vsock_start(&vsock);
  EXPECT(vsock.cid == 3);
  if (command_line[0] == 'r') {
    EXPECT(!vsock_connect(&vsock, 5000, 4321));
    return 0;
  }
  if (command_line[0] == 'a' && command_line[1] == 'g') {
    EXPECT(vsock_connect(&vsock, 5000, 1234));
    vsock_start(&vsock);
  }
  if (command_line[0] == 'c' || command_line[1] == 'g') {
    EXPECT(vsock_connect(&vsock, 5000, 1234));
  } else {
    print("listening\n");
    vsock_accept(&vsock, 52);
  }
  for (;;) {
    const uint32_t count = vsock_read(&vsock, buffer, sizeof(buffer));
    if (count == 0) return 0;
    vsock_write(&vsock, buffer, count);
  }
}
