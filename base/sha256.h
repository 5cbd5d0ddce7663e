#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/result.h"

struct SHA256state_st;

namespace mayfly {

using Sha256Digest = std::array<uint8_t, 32>;

// SHA-256 (FIPS 180-4) of bytes that arrive in pieces; libcrypto computes it.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Add(std::span<const uint8_t> bytes);
  // Once, at the end.
  Sha256Digest Finish();

 private:
  std::unique_ptr<SHA256state_st> state_;
};

Sha256Digest DigestOf(std::span<const uint8_t> bytes);

// The digest of the first `length` bytes of `fd`; a shorter file is kCorrupt, and a request to
// stop kCancelled. `name` is for errors.
Result<Sha256Digest> DigestOfFile(int fd, uint64_t length, std::string_view name,
                                  const std::stop_token& stop = {});

std::string ToHex(const Sha256Digest& digest);

}  // namespace mayfly
