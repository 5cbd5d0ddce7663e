// Requests that are unusual or wrong, and failures of the host, on the first block device: a disk
// of 8 sectors whose bytes are their sector's number, or as the case says. The command line names
// the case.
#include "guest.h"

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8 };
enum { TYPE_DISCARD = 11, TYPE_WRITE_ZEROES = 13 };
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2, STATUS_NONE = 0xee };

struct request {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};

struct segment {
  uint64_t sector;
  uint32_t num_sectors;
  uint32_t flags;
};

static struct device blk;
static struct request request;
static struct segment segment;
static uint8_t data[16][4096];
static volatile uint8_t status;

static void start(void) { EXPECT(device_start(&blk, ID_BLOCK, 0, 1)); }

// Submits and waits; returns the used length.
static uint32_t ask(const struct descriptor* chain, int count) {
  status = STATUS_NONE;
  queue_submit(&blk.queues[0], 0, chain, count);
  queue_kick(&blk, 0);
  return queue_wait(&blk, 0, NULL);
}

static uint8_t transfer(uint32_t type, uint64_t sector, uint32_t length) {
  request = (struct request){type, 0, sector};
  const uint16_t data_flags = type == TYPE_OUT ? 0 : DESC_WRITE;
  const struct descriptor chain[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                     {(uintptr_t)data, length, data_flags, 0},
                                     {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  ask(chain, 3);
  return status;
}

static uint8_t flush(void) {
  request = (struct request){TYPE_FLUSH, 0, 0};
  const struct descriptor chain[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                     {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  ask(chain, 2);
  return status;
}

static uint8_t range(uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags) {
  request = (struct request){type, 0, 0};
  segment = (struct segment){sector, sectors, flags};
  const struct descriptor chain[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                     {(uintptr_t)&segment, sizeof(segment), 0, 0},
                                     {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  ask(chain, 3);
  return status;
}

static void expect_sector(uint64_t sector, uint8_t value) {
  memset(data, 0xcc, 512);
  EXPECT(transfer(TYPE_IN, sector, 512) == STATUS_OK);
  EXPECT(data[0][0] == value && data[0][511] == value);
}

static void framing(void) {
  request = (struct request){TYPE_IN, 0, 2};
  const uintptr_t header = (uintptr_t)&request;
  struct descriptor chain[16] = {{header, 1, 0, 0}, {header + 1, 10, 0, 0}, {header + 11, 5, 0, 0}};
  // Eleven times 100 bytes, and what is left to three sectors.
  for (int i = 3; i < 14; ++i) {
    chain[i] = (struct descriptor){(uintptr_t)data + 100 * (uintptr_t)(i - 3), 100, DESC_WRITE, 0};
  }
  chain[14] = (struct descriptor){(uintptr_t)data + 1100, 436, DESC_WRITE, 0};
  chain[15] = (struct descriptor){(uintptr_t)&status, 1, DESC_WRITE, 0};
  EXPECT(ask(chain, 16) == 1537);
  EXPECT(status == STATUS_OK);
  EXPECT(data[0][0] == 2 && data[0][511] == 2 && data[0][512] == 3 && data[0][1535] == 4);
}

static void short_id(void) {
  memset(data, 0xcc, 64);
  EXPECT(transfer(TYPE_GET_ID, 0, 1) == STATUS_IOERR);
  EXPECT(transfer(TYPE_GET_ID, 0, 19) == STATUS_IOERR);
  EXPECT(data[0][0] == 0xcc);
  EXPECT(transfer(TYPE_GET_ID, 0, 20) == STATUS_OK);
  EXPECT(memcmp(data, "serial-of-the-disk\0\0", 20) == 0);
}

// A write whose answer has nowhere to go must not be done.
static void no_status(void) {
  request = (struct request){TYPE_OUT, 0, 2};
  memset(data, 0xab, 512);
  const struct descriptor without[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                       {(uintptr_t)data, 512, 0, 0}};
  EXPECT(ask(without, 2) == 0);
  const struct descriptor empty[] = {
      without[0], without[1], {(uintptr_t)&status, 0, DESC_WRITE, 0}};
  EXPECT(ask(empty, 3) == 0);
  const struct descriptor readable[] = {without[0], without[1], {(uintptr_t)&status, 1, 0, 0}};
  EXPECT(ask(readable, 3) == 0);
  EXPECT(status == STATUS_NONE);
  expect_sector(2, 2);
}

static void status_on_registers(void) {
  request = (struct request){TYPE_OUT, 0, 2};
  memset(data, 0xab, 512);
  const struct descriptor chain[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                     {(uintptr_t)data, 512, 0, 0},
                                     {blk.base + REG_STATUS, 1, DESC_WRITE, 0}};
  queue_submit(&blk.queues[0], 0, chain, 3);
  queue_kick(&blk, 0);
  while ((read32(blk.base + REG_STATUS) & STATUS_NEEDS_RESET) == 0) {
  }
  start();
  expect_sector(2, 2);
}

static void ranges(void) {
  EXPECT(range(TYPE_DISCARD, 0, 1, 1) == STATUS_UNSUPP);
  EXPECT(range(TYPE_WRITE_ZEROES, 0, 1, 2) == STATUS_UNSUPP);
  EXPECT(range(TYPE_WRITE_ZEROES, 7, 2, 0) == STATUS_IOERR);
  EXPECT(range(TYPE_DISCARD, ~0ULL, 1, 0) == STATUS_IOERR);
  EXPECT(range(TYPE_DISCARD, 1ULL << 55, 1, 0) == STATUS_IOERR);
  expect_sector(0, 0);
  expect_sector(7, 7);
  EXPECT(range(TYPE_WRITE_ZEROES, 3, 1, 0) == STATUS_OK);
  EXPECT(range(TYPE_WRITE_ZEROES, 4, 1, 1) == STATUS_OK);
  EXPECT(range(TYPE_DISCARD, 5, 1, 0) == STATUS_OK);
  expect_sector(2, 2);
  expect_sector(3, 0);
  expect_sector(4, 0);
  expect_sector(6, 6);
}

static void ranges_read_only(void) {
  EXPECT(range(TYPE_DISCARD, 0, 1, 0) == STATUS_IOERR);
  EXPECT(range(TYPE_WRITE_ZEROES, 1, 1, 0) == STATUS_IOERR);
}

// Puts as many requests in flight as the queue takes: writes, which always are, and reads.
static void flood(void) {
  static struct request requests[5];
  static uint8_t answers[5];
  for (int i = 0; i < 5; ++i) {
    const int write = i % 2;
    requests[i] = (struct request){write ? TYPE_OUT : TYPE_IN, 0, (uint64_t)i};
    memset(data[i], i, 512);
    const struct descriptor chain[] = {{(uintptr_t)&requests[i], sizeof(request), 0, 0},
                                       {(uintptr_t)data[i], 512, write ? 0 : DESC_WRITE, 0},
                                       {(uintptr_t)&answers[i], 1, DESC_WRITE, 0}};
    queue_submit(&blk.queues[0], (uint16_t)(3 * i), chain, 3);
  }
  queue_kick(&blk, 0);
}

static void resets(void) {
  for (int i = 0; i < 2000; ++i) {
    flood();
    if (i % 3 == 0) queue_wait(&blk, 0, NULL);
    write32(blk.base + REG_STATUS, 0);
    // Nothing is used once the reset has returned.
    const volatile uint16_t* used = &blk.queues[0].used.index;
    const uint16_t at_reset = *used;
    for (int spin = 0; spin < 50; ++spin) EXPECT(*used == at_reset);
    start();
  }
  expect_sector(3, 3);
}

// Requests without end, for the host to pause and stop the machine in.
static void busy(void) {
  print("busy\n");
  for (;;) {
    flood();
    for (int i = 0; i < 5; ++i) queue_wait(&blk, 0, NULL);
  }
}

// Until the host makes the file shorter; then the rest of it must still work.
static void truncated(void) {
  print("ready\n");
  while (transfer(TYPE_IN, 7, 512) == STATUS_OK) {
  }
  EXPECT(status == STATUS_IOERR);
  expect_sector(0, 0);
  EXPECT(transfer(TYPE_IN, 1, 1024) == STATUS_IOERR);
  expect_sector(0, 0);
}

// A host that takes no more than the first four sectors.
static void full(void) {
  memset(data, 0xab, sizeof(data));
  EXPECT(transfer(TYPE_OUT, 0, 2048) == STATUS_OK);
  EXPECT(transfer(TYPE_OUT, 2, 2048) == STATUS_IOERR);
  EXPECT(transfer(TYPE_OUT, 5, 512) == STATUS_IOERR);
  EXPECT(transfer(TYPE_OUT, 1, 512) == STATUS_OK);
  EXPECT(flush() == STATUS_OK);
  expect_sector(0, 0xab);
  expect_sector(7, 7);
}

static void write_foreign_header(void) {
  memset(data, 0, 512);
  memcpy(data, "QFI\xfb\0\0\0\3\0\0\0\0\0\0\0\x20\0\0\0\x0b/etc/shadow", 31);
  EXPECT(transfer(TYPE_OUT, 0, 512) == STATUS_OK);
  EXPECT(flush() == STATUS_OK);
}

static void read_foreign_header(void) {
  EXPECT(read32(blk.base + REG_CONFIG) == 8);
  EXPECT(transfer(TYPE_IN, 0, 512) == STATUS_OK);
  EXPECT(memcmp(data, "QFI\xfb", 4) == 0);
  expect_sector(7, 7);
}

static void two_queues(void) {
  EXPECT(device_start(&blk, ID_BLOCK, 0, 2));
  request = (struct request){TYPE_IN, 0, 5};
  status = STATUS_NONE;
  const struct descriptor chain[] = {{(uintptr_t)&request, sizeof(request), 0, 0},
                                     {(uintptr_t)data, 512, DESC_WRITE, 0},
                                     {(uintptr_t)&status, 1, DESC_WRITE, 0}};
  queue_submit(&blk.queues[1], 0, chain, 3);
  queue_kick(&blk, 1);
  EXPECT(queue_wait(&blk, 1, NULL) == 513);
  EXPECT(status == STATUS_OK && data[0][0] == 5);
  expect_sector(6, 6);
}

static void overlay(void) {
  memset(data, 0xab, 512);
  EXPECT(transfer(TYPE_OUT, 2, 512) == STATUS_OK);
  EXPECT(flush() == STATUS_OK);
  expect_sector(1, 1);
  expect_sector(2, 0xab);
  expect_sector(3, 3);
}

static void overlay_again(void) {
  expect_sector(1, 1);
  expect_sector(2, 0xab);
}

static const struct {
  const char* name;
  void (*run)(void);
} cases[] = {
    {"framing", framing},
    {"short-id", short_id},
    {"no-status", no_status},
    {"status-on-registers", status_on_registers},
    {"ranges", ranges},
    {"ranges-read-only", ranges_read_only},
    {"resets", resets},
    {"busy", busy},
    {"truncated", truncated},
    {"full", full},
    {"write-foreign-header", write_foreign_header},
    {"read-foreign-header", read_foreign_header},
    {"two-queues", two_queues},
    {"overlay", overlay},
    {"overlay-again", overlay_again},
};

int guest_main(const char* command_line) {
  const size_t length = strlen(command_line);
  start();
  for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); ++i) {
    if (strlen(cases[i].name) == length && memcmp(cases[i].name, command_line, length) == 0) {
      cases[i].run();
      return 0;
    }
  }
  fail("no such case");
}
