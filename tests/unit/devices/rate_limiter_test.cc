#include "devices/rate_limiter.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RateLimiter::Clock::time_point kStart{seconds(1000)};
constexpr RateLimiter::Clock::duration kNow{};

RateLimits BytesPerSecond(uint64_t rate, uint64_t burst, uint64_t one_time_burst = 0) {
  return {.bytes = {rate, burst, one_time_burst}, .operations = {}};
}

TEST(RateLimiterTest, WithoutLimitsEverythingPasses) {
  RateLimiter limiter(RateLimits{}, kStart);
  EXPECT_TRUE(limiter.unlimited());
  EXPECT_EQ(limiter.Take(UINT64_MAX, kStart), kNow);
  EXPECT_EQ(limiter.Take(UINT64_MAX, kStart), kNow);
}

TEST(RateLimiterTest, AFullBucketLetsItsBurstPassAtOnce) {
  RateLimiter limiter(BytesPerSecond(1000, 300), kStart);
  EXPECT_EQ(limiter.Take(200, kStart), kNow);
  EXPECT_EQ(limiter.Take(100, kStart), kNow);
  EXPECT_GT(limiter.Take(1, kStart), kNow);
}

TEST(RateLimiterTest, TheWaitItNamesIsLongEnough) {
  RateLimiter limiter(BytesPerSecond(1000, 100), kStart);
  EXPECT_EQ(limiter.Take(600, kStart), kNow);
  const auto wait = limiter.Take(1, kStart);
  EXPECT_GE(wait, milliseconds(500));
  EXPECT_LE(wait, milliseconds(502));
  EXPECT_EQ(limiter.Take(1, kStart + wait), kNow);
}

TEST(RateLimiterTest, ARequestLargerThanTheBucketIsPaidForAfterwards) {
  RateLimiter limiter(BytesPerSecond(1000, 10), kStart);
  EXPECT_EQ(limiter.Take(10'000, kStart), kNow);
  EXPECT_GT(limiter.Take(1, kStart + seconds(9)), kNow);
  EXPECT_EQ(limiter.Take(1, kStart + seconds(10)), kNow);
}

TEST(RateLimiterTest, APauseDoesNotSaveMoreThanTheBurst) {
  RateLimiter limiter(BytesPerSecond(1000, 100), kStart);
  EXPECT_EQ(limiter.Take(100, kStart + seconds(3600)), kNow);
  EXPECT_GT(limiter.Take(1, kStart + seconds(3600)), kNow);
}

TEST(RateLimiterTest, TheOneTimeBurstComesOnTopAndNeverAgain) {
  RateLimiter limiter(BytesPerSecond(1000, 100, 400), kStart);
  EXPECT_EQ(limiter.Take(499, kStart), kNow);
  EXPECT_EQ(limiter.Take(1, kStart), kNow);
  EXPECT_EQ(limiter.Take(100, kStart + seconds(3600)), kNow);
  EXPECT_GT(limiter.Take(1, kStart + seconds(3600)), kNow);
}

TEST(RateLimiterTest, OperationsAreCountedWhateverTheirSize) {
  RateLimiter limiter({.bytes = {}, .operations = {10, 2, 0}}, kStart);
  EXPECT_EQ(limiter.Take(0, kStart), kNow);
  EXPECT_EQ(limiter.Take(1 << 30, kStart), kNow);
  EXPECT_GT(limiter.Take(0, kStart), kNow);
  EXPECT_EQ(limiter.Take(0, kStart + milliseconds(101)), kNow);
}

TEST(RateLimiterTest, ARefusedRequestTakesFromNeitherBucket) {
  RateLimiter limiter({.bytes = {1000, 100, 0}, .operations = {1, 1, 0}}, kStart);
  EXPECT_EQ(limiter.Take(10, kStart), kNow);
  EXPECT_GT(limiter.Take(90, kStart), kNow);
  EXPECT_EQ(limiter.Take(90, kStart + seconds(1)), kNow);
}

TEST(RateLimiterTest, AClockThatStandsStillOrGoesBackAddsNothing) {
  RateLimiter limiter(BytesPerSecond(1000, 100), kStart);
  EXPECT_EQ(limiter.Take(100, kStart), kNow);
  EXPECT_GT(limiter.Take(1, kStart - seconds(5)), kNow);
  EXPECT_GT(limiter.Take(1, kStart), kNow);
}

}  // namespace
}  // namespace mayfly
