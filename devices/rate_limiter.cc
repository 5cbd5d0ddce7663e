#include "devices/rate_limiter.h"

#include <algorithm>

namespace mayfly {
namespace {

// A wait is at least so long: a timer that fires before there is a whole token would spin.
constexpr std::chrono::microseconds kShortestWait{100};

}  // namespace

RateLimiter::Bucket::Bucket(const RateLimit& limit, Clock::time_point now)
    : per_second_(static_cast<double>(limit.per_second)),
      burst_(limit.burst != 0 ? static_cast<double>(limit.burst) : std::max(1.0, per_second_ / 10)),
      tokens_(burst_ + static_cast<double>(limit.one_time_burst)),
      refilled_(now) {}

void RateLimiter::Bucket::Refill(Clock::time_point now) {
  if (now <= refilled_) return;
  const double passed = std::chrono::duration<double>(now - refilled_).count();
  refilled_ = now;
  if (tokens_ < burst_) tokens_ = std::min(burst_, tokens_ + passed * per_second_);
}

RateLimiter::Clock::duration RateLimiter::Bucket::UntilPositive() const {
  if (unlimited() || tokens_ >= 1) return {};
  const std::chrono::duration<double> wait((1 - tokens_) / per_second_);
  return std::max<Clock::duration>(std::chrono::duration_cast<Clock::duration>(wait),
                                   kShortestWait);
}

RateLimiter::Clock::duration RateLimiter::Take(uint64_t bytes, Clock::time_point now) {
  bytes_.Refill(now);
  operations_.Refill(now);
  const Clock::duration wait = std::max(bytes_.UntilPositive(), operations_.UntilPositive());
  if (wait > Clock::duration::zero()) return wait;
  bytes_.Take(bytes);
  operations_.Take(1);
  return {};
}

}  // namespace mayfly
