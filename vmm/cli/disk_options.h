#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "devices/rate_limiter.h"
#include "devices/virtio/blk/open_backend.h"

namespace mayfly {

// One disk of a machine: a --disk, or an element of "disks" in a configuration file.
// docs/machine-config.md describes the keys, which are the same in both.
struct DiskOptions {
  static constexpr size_t kMostDisks = 8;
  static constexpr size_t kMostSerial = 20;
  static constexpr uint16_t kMostQueues = 16;

  std::string path{};
  bool read_only = false;
  std::string overlay{};  // The layer's file; empty: none.
  uint16_t queues = 1;
  std::string serial{};  // Empty: the disk's name.
  uint32_t block_size = 512;
  BlkEngine engine = BlkEngine::kBest;
  RateLimits limits{};

  bool operator==(const DiskOptions&) const = default;
};

// "PATH", and behind it, in any order, ",ro", ",rw" and ",KEY=VALUE"; any other comma is part of
// the path. Errors are kInvalidArgument and name the key.
Result<DiskOptions> ParseDisk(std::string_view text);
// A JSON object with "path", "read_only" and the keys. Paths start at `directory`.
Result<DiskOptions> ParseDisk(const JsonValue& value, const std::string& directory);

// Refuses too many disks, files that are none, and one that is given twice and written to.
Result<void> CheckDisks(const std::vector<DiskOptions>& disks);

// A path of a configuration file, which starts at `directory` unless it begins with a slash.
Result<std::string> ParsePath(const JsonValue& value, const std::string& directory);

}  // namespace mayfly
