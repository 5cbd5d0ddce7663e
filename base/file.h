#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// open(2) with O_CLOEXEC added. The error names `path`.
Result<UniqueFd> OpenFile(const std::string& path, int flags, unsigned mode = 0600);

// The size in bytes of a regular file or a block device; other kinds are refused. `name` is for the
// error.
Result<uint64_t> FileSize(int fd, std::string_view name);

// All bytes of `path`; refused with kTooLarge if there are more than `limit`.
Result<std::vector<uint8_t>> ReadFile(const std::string& path, uint64_t limit);

// Exactly bytes.size() bytes from `offset`; a shorter file is kCorrupt. Retries EINTR and short
// reads.
Result<void> ReadExactAt(int fd, std::span<uint8_t> bytes, uint64_t offset, std::string_view name);

// All of `bytes`, retrying EINTR and short writes; for blocking descriptors.
Result<void> WriteAll(int fd, std::span<const uint8_t> bytes, std::string_view name);

inline std::span<const uint8_t> AsBytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

inline std::string_view AsText(std::span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace mayfly
