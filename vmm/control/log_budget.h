#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

namespace mayfly {

// How much of what a guest says for its log is still passed on: the cap in the guest's init is an
// honest guest's. One thread.
class LogBudget {
 public:
  explicit LogBudget(uint64_t most_bytes) : most_bytes_(most_bytes) {}

  void Reset() { used_ = dropped_ = 0; }
  // What of `text` is to be passed on: its beginning, or nothing.
  std::string_view Take(std::string_view text) {
    const std::string_view taken = text.substr(0, std::min(text.size(), most_bytes_ - used_));
    used_ += taken.size();
    dropped_ += text.size() - taken.size();
    return taken;
  }
  // Bytes since the last Reset().
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  const uint64_t most_bytes_;
  uint64_t used_ = 0;
  uint64_t dropped_ = 0;
};

}  // namespace mayfly
