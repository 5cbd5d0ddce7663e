#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "snapshot/state_file.h"
#include "tests/unit/snapshot/sample_state.h"

// tests/golden holds a file of each version of the state's format: whatever changes a byte of one
// is another version, and gets a file of its own beside it.
//
//   MAYFLY_WRITE_GOLDEN=1 build/release/bin/mayfly-unit-tests --gtest_filter='GoldenTest.*'
//
// writes the current version's anew.
namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

class GoldenTest : public ::testing::Test {
 protected:
  static constexpr char kState[] = MAYFLY_GOLDEN_DIR "/state-1";

  void SetUp() override {
    if (std::getenv("MAYFLY_WRITE_GOLDEN") != nullptr) {
      const UniqueFd fd = *OpenFile(kState, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      ASSERT_TRUE(WriteAll(fd.get(), StateFile::Encode(SampleState()), kState));
    }
    const auto file = ReadFile(kState, StateFile::kMostBytes);
    ASSERT_TRUE(file) << file.error().message();
    file_ = *file;
  }

  Bytes file_;
};

TEST_F(GoldenTest, StateOfVersion1DecodesAndEncodesToTheSameBytes) {
  const auto state = StateFile::Decode(file_);
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(StateFile::Encode(*state), file_);
}

TEST_F(GoldenTest, StateOfVersion1IsWhatWasEncodedThen) {
  const MachineState expected = SampleState();
  const auto state = StateFile::Decode(file_);
  ASSERT_TRUE(state) << state.error().message();
  EXPECT_EQ(state->virtio, expected.virtio);
  EXPECT_EQ(state->vsocks, expected.vsocks);
  EXPECT_TRUE(StateFile::Encode(expected) == file_);
}

}  // namespace
}  // namespace mayfly
