#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"

namespace mayfly {

// Where the entropy device's bytes come from.
class EntropySource {
 public:
  virtual ~EntropySource() = default;
  // All of `out`, or an error.
  virtual Result<void> Fill(std::span<uint8_t> out) = 0;
};

// The host kernel's generator: getrandom(2).
class HostEntropy final : public EntropySource {
 public:
  Result<void> Fill(std::span<uint8_t> out) override;
};

}  // namespace mayfly
