#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <random>

extern "C" int Fuzz_race(const uint8_t* data, size_t size);

namespace mayfly {
namespace {

// Where libFuzzer is not there to make inputs, under ThreadSanitizer above all: inputs by chance.
TEST(RaceTest, DevicesWithstandADriverThatRewritesWhatTheyWalk) {
  constexpr std::chrono::seconds kDuration{5};
  std::mt19937_64 random(1);  // NOLINT(cert-msc51-cpp): the same inputs each time.
  std::array<uint64_t, 33> input{};
  int executions = 0;
  const auto end = std::chrono::steady_clock::now() + kDuration;

  while (std::chrono::steady_clock::now() < end) {
    for (uint64_t& word : input) word = random();
    EXPECT_EQ(Fuzz_race(reinterpret_cast<const uint8_t*>(input.data()), sizeof(input)), 0);
    ++executions;
  }

  std::printf("%d executions\n", executions);
  EXPECT_GT(executions, 0);
}

}  // namespace
}  // namespace mayfly
