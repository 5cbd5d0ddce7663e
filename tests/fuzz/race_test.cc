#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <random>
#include <span>
#include <vector>

#include "base/file.h"

extern "C" int Fuzz_race(const uint8_t* data, size_t size);

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

// The seeds, and as many inputs by chance: libFuzzer, which would make better ones, does not run
// under ThreadSanitizer here.
std::vector<Bytes> Inputs() {
  std::vector<Bytes> inputs;
  for (const auto& seed : std::filesystem::directory_iterator(MAYFLY_FUZZ_CORPUS "/race")) {
    inputs.push_back(*ReadFile(seed.path(), 1 << 20));
  }
  std::seed_seq seed{1};  // The same inputs each time.
  std::mt19937_64 random(seed);
  inputs.resize(2 * inputs.size(), Bytes(256));
  for (Bytes& input : std::span(inputs).last(inputs.size() / 2)) {
    std::ranges::generate(input, [&] { return static_cast<uint8_t>(random()); });
  }
  return inputs;
}

TEST(RaceTest, DevicesWithstandADriverThatRewritesWhatTheyWalk) {
  constexpr std::chrono::seconds kDuration{5};
  const std::vector<Bytes> inputs = Inputs();
  size_t executions = 0;
  const auto end = std::chrono::steady_clock::now() + kDuration;

  while (std::chrono::steady_clock::now() < end) {
    const Bytes& input = inputs[executions++ % inputs.size()];
    EXPECT_EQ(Fuzz_race(input.data(), input.size()), 0);
  }

  std::printf("%zu executions\n", executions);
}

}  // namespace
}  // namespace mayfly
