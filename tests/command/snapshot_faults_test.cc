#include "snapshot/snapshot_directory.h"
#include "tests/command/command_fixture.h"

// A snapshot is there whole or not at all, whatever system call fails while it is written.
namespace mayfly {
namespace {

class SnapshotFaultsTest : public CommandFixture {
 protected:
  // Every call of WriteSnapshot()'s that can fail on a good day.
  static constexpr std::array kCalls{"openat",   "mkdir",     "ftruncate", "pread64",
                                     "pwrite64", "write",     "fsync",     "lseek",
                                     "fstat",    "renameat2", "newfstatat"};

  void SetUp() override {
    CommandFixture::SetUp();
    const auto traced = RunProgram({"strace", "-o", "/dev/null", "true"});
    if (traced.status != 0) GTEST_SKIP() << "needs strace, and leave to trace: " << traced.err;
  }

  struct Outcome {
    bool injected;
    ProgramResult result;
  };

  // Writes a snapshot with `fault` at the `nth` such call.
  [[nodiscard]] Outcome WriteWith(const std::string& call, const std::string& fault,
                                  int nth) const {
    const std::string log = PathFor("log");
    ProgramResult result =
        RunProgram({"strace", "-f", "-qq", "-o", log, "-e", "trace=" + call, "-e",
                    "inject=" + call + ":" + fault + ":when=" + std::to_string(nth),
                    Build("bin/mayfly-snapshot-writer"), PathFor("snap")});
    const bool injected = Contents(log).find("(INJECTED)") != std::string::npos ||
                          Contents(log).find("+++ killed") != std::string::npos;
    std::filesystem::remove(log);
    return {injected, std::move(result)};
  }

  [[nodiscard]] bool IsWhole() const {
    auto snapshot = Snapshot::Open(PathFor("snap"));
    return snapshot && snapshot->TakeMemory()->CheckAll();
  }
  [[nodiscard]] bool IsThere() const { return std::filesystem::exists(PathFor("snap")); }

  void RemoveAll() const {
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      std::filesystem::remove_all(entry);
    }
  }
};

TEST_F(SnapshotFaultsTest, FailedCallLeavesNothingOrAllOfIt) {
  int injected = 0;
  for (const std::string call : kCalls) {
    for (int nth = 1;; ++nth) {
      const Outcome outcome = WriteWith(call, "error=ENOSPC", nth);
      if (!outcome.injected) break;
      ++injected;
      SCOPED_TRACE(call + " " + std::to_string(nth) + ": " + outcome.result.err);
      // A failure of what comes after the rename does not take the snapshot back.
      EXPECT_TRUE(IsThere() ? IsWhole() : outcome.result.status != 0);
      EXPECT_EQ(FilesLeft(), IsThere() ? 1u : 0u);
      RemoveAll();
    }
  }
  EXPECT_GT(injected, 25);
}

TEST_F(SnapshotFaultsTest, KilledWriterLeavesNoSnapshotOrAWholeOne) {
  for (const std::string call : kCalls) {
    for (int nth = 1;; ++nth) {
      const Outcome outcome = WriteWith(call, "signal=KILL", nth);
      if (!outcome.injected) break;
      SCOPED_TRACE(call + " " + std::to_string(nth));
      EXPECT_TRUE(!IsThere() || IsWhole());
      RemoveAll();
    }
  }
}

TEST_F(SnapshotFaultsTest, InterruptedCallsAreMadeAgain) {
  for (const std::string call : {"pwrite64", "write"}) {
    const Outcome outcome = WriteWith(call, "error=EINTR", 1);
    EXPECT_TRUE(outcome.injected) << call;
    EXPECT_TRUE(IsWhole()) << call << ": " << outcome.result.err;
    RemoveAll();
  }
}

}  // namespace
}  // namespace mayfly
