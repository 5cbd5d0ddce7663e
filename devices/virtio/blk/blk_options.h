#pragma once

#include <cstdint>
#include <string>

#include "devices/rate_limiter.h"

namespace mayfly {

// What a block device is besides its contents.
struct BlkOptions {
  uint16_t queues = 1;
  // What the guest reads as the disk's serial number; what is beyond 20 bytes is cut.
  std::string serial{};
  // The logical block size, 512 or 4096: what the guest's kernel reads and writes at least.
  uint32_t block_size = 512;
  RateLimits limits{};
};

}  // namespace mayfly
