// Speaks the control protocol as mayfly-init does, and answers each invocation with its event, also
// in the lives that it has after a snapshot.
// The command line picks a fault: "wrong-id" answers for another invocation, "bad-frame" sends a
// frame of no known type, "silent" never answers, "error" fails every invocation. So do the events
// "!silent" and "!error"; "!off" powers the machine off. To "identity" it answers with what is its
// own in this life, and then rings its doorbell, so that it stands still and takes no processor
// from others. A function with "AWAIT" in its description takes no events before its snapshot.
#include "vsock.h"

enum {
  FRAME_HELLO = 1,
  FRAME_LOAD = 2,
  FRAME_READY = 3,
  FRAME_INVOKE = 4,
  FRAME_CHUNK = 5,
  FRAME_DONE = 6,
  FRAME_ERROR = 7,
  FRAME_LOG = 8,
  FRAME_RESTORE = 9,
  FRAME_SHUTDOWN = 10,
  FRAME_SNAPSHOT = 11,
};

#define RESTORE_PAGE 0xde000ULL
#define GENERATION (*(const volatile uint64_t*)(RESTORE_PAGE + 16))
enum { DOORBELL = 0x610, DOORBELL_READY = 1, IDENTITY_SIZE = 80 };

struct frame_header {
  uint32_t length;
  uint16_t type;
  uint16_t reserved;
  uint64_t invocation;
};

static struct vsock vsock;
static uint8_t payload[65536];
static int identified;

static void send_frame(uint16_t type, uint64_t invocation, const void* bytes, uint32_t length) {
  const struct frame_header header = {length, type, 0, invocation};
  vsock_write(&vsock, &header, sizeof(header));
  vsock_write(&vsock, bytes, length);
}

static void send_text(uint16_t type, uint64_t invocation, const char* text) {
  send_frame(type, invocation, text, (uint32_t)strlen(text));
}

static int read_all(void* bytes, uint32_t length) {
  uint8_t* to = bytes;
  while (length > 0) {
    const uint32_t count = vsock_read(&vsock, to, length);
    if (count == 0) return 0;
    to += count;
    length -= count;
  }
  return 1;
}

static struct frame_header next_frame(void) {
  struct frame_header header;
  if (!read_all(&header, sizeof(header))) power_off();
  EXPECT(header.length <= sizeof(payload));
  if (!read_all(payload, header.length)) power_off();
  return header;
}

// The number behind "size": in an invoke frame.
static uint32_t event_size(uint32_t length) {
  for (uint32_t i = 0; i + 7 < length; ++i) {
    if (memcmp(payload + i, "\"size\":", 7) != 0) continue;
    uint32_t size = 0;
    for (i += 7; i < length && payload[i] >= '0' && payload[i] <= '9'; ++i) {
      size = size * 10 + payload[i] - '0';
    }
    return size;
  }
  fail("an invoke frame without a size");
}

// Returns in each further life.
static void snapshot(void) {
  const uint64_t generation = GENERATION;
  do {
    outl(DOORBELL, DOORBELL_READY);
  } while (GENERATION == generation);
}

static void hang(void) {
  for (;;) {
  }
}

static void send_error(uint64_t id) {
  send_text(FRAME_ERROR, id, "{\"errorType\":\"Function.Test\",\"errorMessage\":\"as asked\"}");
}

// Whether the payload, of `length` bytes, is `text`.
static int is(uint32_t length, const char* text) {
  return length == strlen(text) && memcmp(payload, text, length) == 0;
}

// The chunk in `payload`, or what is asked for in it.
static uint32_t answer(uint32_t length) {
  if (!is(length, "identity")) return length;
  memcpy(payload, (const void*)(RESTORE_PAGE + 16), IDENTITY_SIZE);
  identified = 1;
  return IDENTITY_SIZE;
}

static int has_await(uint32_t length) {
  for (uint32_t i = 0; i + 5 <= length; ++i) {
    if (memcmp(payload + i, "AWAIT", 5) == 0) return 1;
  }
  return 0;
}

int guest_main(const char* command_line) {
  vsock_start(&vsock);
  EXPECT(vsock_connect(&vsock, 5000, 1024));
  send_text(FRAME_HELLO, 0, "{\"version\":1,\"init\":\"test\"}");
  const struct frame_header load = next_frame();
  EXPECT(load.type == FRAME_LOAD);
  send_text(FRAME_READY, 0, has_await(load.length) ? "{\"awaits_restore\":true}" : "{}");
  for (;;) {
    struct frame_header header = next_frame();
    if (header.type == FRAME_SHUTDOWN) return 0;
    if (header.type == FRAME_RESTORE) continue;
    if (header.type == FRAME_SNAPSHOT) {
      snapshot();
      continue;
    }
    EXPECT(header.type == FRAME_INVOKE);
    const uint64_t id = header.invocation;
    send_text(FRAME_LOG, id, "\001a line\n");
    if (command_line[0] == 'b') send_text(99, id, "");
    if (command_line[0] == 'e') {
      send_error(id);
      continue;
    }
    if (command_line[0] == 's') hang();
    int failed = 0;
    for (uint32_t left = event_size(header.length); left > 0; left -= header.length) {
      header = next_frame();
      EXPECT(header.type == FRAME_CHUNK && header.invocation == id && header.length <= left);
      if (is(header.length, "!silent")) hang();
      if (is(header.length, "!off")) power_off();
      failed = is(header.length, "!error");
      if (failed) break;
      send_frame(FRAME_CHUNK, command_line[0] == 'w' ? id + 1 : id, payload, answer(header.length));
    }
    if (failed) {
      send_error(id);
    } else {
      send_text(FRAME_DONE, id, "{\"duration_us\":1}");
    }
    if (identified) outl(DOORBELL, DOORBELL_READY);
  }
}
