#pragma once

#include <chrono>
#include <cstdint>

namespace mayfly {

// How much of something may pass.
struct RateLimit {
  uint64_t per_second = 0;  // 0: no limit.
  // What may pass at once after a pause; 0: as much as in a tenth of a second.
  uint64_t burst = 0;
  // What may pass besides, once, at the start.
  uint64_t one_time_burst = 0;

  bool operator==(const RateLimit&) const = default;
};

struct RateLimits {
  RateLimit bytes{};
  RateLimit operations{};

  bool operator==(const RateLimits&) const = default;
};

// Two token buckets, for the bytes and for the operations of a device. A request passes when
// neither is empty, and may take a bucket below zero: what is larger than a bucket passes too, and
// those after it wait the longer, so that the rate holds in the long run. Not synchronised: its
// device calls it under its own mutex. Starts full.
class RateLimiter {
 public:
  using Clock = std::chrono::steady_clock;

  explicit RateLimiter(const RateLimits& limits, Clock::time_point now = Clock::now())
      : bytes_(limits.bytes, now), operations_(limits.operations, now) {}

  // Takes one operation of `bytes` and returns zero; or takes nothing and returns how long to wait
  // before trying again.
  [[nodiscard]] Clock::duration Take(uint64_t bytes, Clock::time_point now = Clock::now());

  [[nodiscard]] bool unlimited() const { return bytes_.unlimited() && operations_.unlimited(); }

 private:
  class Bucket {
   public:
    Bucket(const RateLimit& limit, Clock::time_point now);
    [[nodiscard]] bool unlimited() const { return per_second_ == 0; }
    void Refill(Clock::time_point now);
    // Zero if there is something in it.
    [[nodiscard]] Clock::duration UntilPositive() const;
    void Take(uint64_t amount) { tokens_ -= static_cast<double>(amount); }

   private:
    double per_second_;
    double burst_;
    double tokens_;  // Above burst_ only by what is left of the one-time burst.
    Clock::time_point refilled_;
  };

  Bucket bytes_;
  Bucket operations_;
};

}  // namespace mayfly
