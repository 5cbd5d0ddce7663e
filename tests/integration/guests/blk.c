// Drives the first virtio-blk device: a disk of 8 sectors whose bytes are their sector's number.
#include "guest.h"

enum { TYPE_IN = 0, TYPE_OUT = 1, TYPE_FLUSH = 4, TYPE_GET_ID = 8 };
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2 };

struct request {
  uint32_t type;
  uint32_t reserved;
  uint64_t sector;
};

static struct device blk;
static struct request request;
static uint8_t data[4096];
static volatile uint8_t status;

static uint8_t transfer(uint32_t type, uint64_t sector, uint32_t length) {
  request = (struct request){type, 0, sector};
  status = 0xee;
  const uint16_t data_flags = type == TYPE_OUT ? 0 : DESC_WRITE;
  const struct descriptor with_data[] = {
      {(uintptr_t)&request, sizeof(request), 0, 0},
      {(uintptr_t)data, length, data_flags, 0},
      {(uintptr_t)&status, 1, DESC_WRITE, 0},
  };
  const struct descriptor without_data[] = {with_data[0], with_data[2]};
  if (length > 0) {
    queue_submit(&blk.queues[0], 0, with_data, 3);
  } else {
    queue_submit(&blk.queues[0], 0, without_data, 2);
  }
  queue_kick(&blk, 0);
  queue_wait(&blk, 0, NULL);
  return status;
}

int guest_main(const char* command_line) {
  const int read_only = command_line[0] == 'r';
  EXPECT(device_start(&blk, ID_BLOCK, 0, 1));
  EXPECT(read32(blk.base + REG_CONFIG) == 8);  // Capacity in sectors

  EXPECT(transfer(TYPE_IN, 3, 512) == STATUS_OK);
  EXPECT(data[0] == 3 && data[511] == 3);
  EXPECT(transfer(TYPE_IN, 6, 1024) == STATUS_OK);
  EXPECT(data[0] == 6 && data[512] == 7);

  EXPECT(transfer(TYPE_IN, 7, 1024) == STATUS_IOERR);  // Beyond the end
  EXPECT(transfer(TYPE_IN, 8, 512) == STATUS_IOERR);
  EXPECT(transfer(TYPE_IN, ~0ULL, 512) == STATUS_IOERR);
  EXPECT(transfer(TYPE_IN, 1ULL << 55, 512) == STATUS_IOERR);  // sector << 9 wraps to 0
  EXPECT(transfer(TYPE_IN, 0, 513) == STATUS_IOERR);
  EXPECT(transfer(99, 0, 512) == STATUS_UNSUPP);

  memset(data, 0, sizeof(data));
  EXPECT(transfer(TYPE_GET_ID, 0, 20) == STATUS_OK);
  EXPECT(data[0] != 0);

  memset(data, 0xab, sizeof(data));
  if (read_only) {
    EXPECT(transfer(TYPE_OUT, 2, 512) == STATUS_IOERR);
  } else {
    EXPECT(transfer(TYPE_OUT, 2, 512) == STATUS_OK);
    EXPECT(transfer(TYPE_FLUSH, 0, 0) == STATUS_OK);
    memset(data, 0, sizeof(data));
    EXPECT(transfer(TYPE_IN, 2, 512) == STATUS_OK);
    EXPECT(data[0] == 0xab && data[511] == 0xab);
  }
  return 0;
}
