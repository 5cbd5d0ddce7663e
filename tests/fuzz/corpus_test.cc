#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/file.h"

// Plays every seed of every fuzz target once: what was found before is not found again. A target
// that finds something aborts, so the seed is named before it is played.
extern "C" {
#define MAYFLY_FUZZ_TARGET(name) int Fuzz_##name(const uint8_t* data, size_t size);
#include "fuzz_targets.inc"
#undef MAYFLY_FUZZ_TARGET
}

namespace mayfly {
namespace {

struct FuzzTarget {
  const char* name;
  int (*play)(const uint8_t*, size_t);
};

class FuzzCorpusTest : public ::testing::TestWithParam<FuzzTarget> {
 protected:
  static constexpr size_t kMostSeedBytes = 1 << 20;

  [[nodiscard]] static std::vector<std::filesystem::path> Seeds() {
    std::vector<std::filesystem::path> seeds;
    const auto folder = std::filesystem::path(MAYFLY_FUZZ_CORPUS) / GetParam().name;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      seeds.push_back(entry.path());
    }
    return seeds;
  }
};

TEST_P(FuzzCorpusTest, EverySeedPassesTheInvariants) {
  const auto seeds = Seeds();
  ASSERT_FALSE(seeds.empty());
  for (const auto& seed : seeds) {
    std::printf("%s\n", seed.c_str());
    (void)std::fflush(stdout);
    const auto bytes = ReadFile(seed, kMostSeedBytes);
    ASSERT_TRUE(bytes) << bytes.error().message();
    EXPECT_EQ(GetParam().play(bytes->data(), bytes->size()), 0);
  }
}

constexpr FuzzTarget kTargets[] = {
#define MAYFLY_FUZZ_TARGET(name) {#name, Fuzz_##name},
#include "fuzz_targets.inc"
#undef MAYFLY_FUZZ_TARGET
};

INSTANTIATE_TEST_SUITE_P(Targets, FuzzCorpusTest, ::testing::ValuesIn(kTargets),
                         [](const auto& target) { return std::string(target.param.name); });

}  // namespace
}  // namespace mayfly
