#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>
#include <span>
#include <string_view>

#include "snapshot/snapshot_directory.h"
#include "tests/command/command_fixture.h"

// What is on disk is whole, or not there at all, whatever system call fails, or is the last one,
// while a snapshot is written, restored, flattened or removed.
namespace mayfly {
namespace {

constexpr auto kFileCalls = std::to_array<std::string_view>(
    {"openat", "mkdir", "ftruncate", "pread64", "pwrite64", "pwritev", "write", "fsync", "lseek",
     "fstat", "renameat2", "newfstatat", "flock", "ioctl", "getdents64"});
constexpr auto kRemoveCalls =
    std::to_array<std::string_view>({"openat", "flock", "rename", "unlinkat", "fsync", "unlink",
                                     "getdents64", "mkdir", "fstat", "newfstatat", "rmdir"});
constexpr auto kRestoreCalls = std::to_array<std::string_view>(
    {"openat", "pread64", "preadv", "fstat", "lseek", "ioctl", "eventfd2", "mmap", "flock",
     "madvise", "epoll_create1", "epoll_ctl", "userfaultfd"});

class SnapshotFaultsTest : public CommandFixture {
 protected:
  void SetUp() override {
    CommandFixture::SetUp();
    const auto traced = RunProgram({"strace", "-o", "/dev/null", "true"});
    if (traced.status != 0) GTEST_SKIP() << "needs strace, and leave to trace: " << traced.err;
  }

  // How many faults there were in all tests of this process.
  static void TearDownTestSuite() { std::printf("%d points of failure\n", points_); }

  static std::vector<std::string> Writer(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), Build("bin/mayfly-snapshot-writer"));
    return arguments;
  }
  static void Do(std::vector<std::string> arguments) {
    const ProgramResult result = RunProgram(Writer(std::move(arguments)));
    ASSERT_EQ(result.status, 0) << result.err;
  }

  // Runs `command` with `fault` at the first such call, then, after `check`, with it at the second,
  // and so on to the last.
  template <class Check>
  void ForEachCall(std::span<const std::string_view> calls, const std::string& fault,
                   const std::vector<std::string>& command, Check check) {
    const int before = points_;
    const std::string log = fmt::format("{}/mayfly-faults.{}", testing::TempDir(), ::getpid());
    for (const std::string_view call : calls) {
      for (int nth = 1;; ++nth) {
        std::vector<std::string> traced{"strace",
                                        "-f",
                                        "-qq",
                                        "-o",
                                        log,
                                        "-e",
                                        fmt::format("trace={}", call),
                                        "-e",
                                        fmt::format("inject={}:{}:when={}", call, fault, nth)};
        traced.insert(traced.end(), command.begin(), command.end());
        const ProgramResult result = RunProgram(traced);
        const std::string seen = Contents(log);
        std::filesystem::remove(log);
        // strace dies as its tracee did.
        const bool came =
            seen.find("(INJECTED)") != std::string::npos || result.status == 128 + SIGKILL;
        SCOPED_TRACE(fmt::format("{} {} {}: {}", call, nth, fault, result.err));
        // Also after the run that nothing happened to: it clears up for the next.
        check(result);
        if (!came) break;
        ++points_;
      }
    }
    // A fault that never came would prove nothing.
    EXPECT_GE(points_, before + kLeastPoints) << fault;
  }

  [[nodiscard]] bool IsWhole(const std::string& name) const {
    auto snapshot = Snapshot::Open(PathFor(name));
    return snapshot && snapshot->TakeMemory()->CheckAll();
  }
  [[nodiscard]] bool IsThere(const std::string& name) const {
    return std::filesystem::exists(PathFor(name));
  }

  // After `name` was to be made: it is whole, or not there and reported; nothing else is left but
  // `others`, unless the writer was killed.
  void ExpectWholeOrAbsent(const std::string& name, const ProgramResult& result, size_t others) {
    const bool killed = result.status > 128;
    // A failure of what comes after the rename does not take the snapshot back.
    EXPECT_TRUE(IsThere(name) ? IsWhole(name) : result.status != 0);
    if (!killed) {
      EXPECT_EQ(FilesLeft(), others + (IsThere(name) ? 1 : 0));
    } else {
      Do({"gc", directory_, IsThere(name) ? name : "base"});
      EXPECT_EQ(FilesLeft(), others + (IsThere(name) ? 1 : 0));
    }
    std::filesystem::remove_all(PathFor(name));
  }

  static constexpr int kLeastPoints = 15;
  static inline int points_ = 0;
};

TEST_F(SnapshotFaultsTest, AFailedWriteLeavesNothingOrAllOfIt) {
  const auto check = [&](const ProgramResult& result) { ExpectWholeOrAbsent("snap", result, 0); };
  ForEachCall(kFileCalls, "error=ENOSPC", Writer({"write", PathFor("snap")}), check);
  ForEachCall(kFileCalls, "error=EINTR", Writer({"write", PathFor("snap")}), check);
}

TEST_F(SnapshotFaultsTest, AKilledWriterLeavesNoSnapshotOrAWholeOne) {
  Do({"write", PathFor("base")});
  ForEachCall(kFileCalls, "signal=KILL", Writer({"write", PathFor("snap")}),
              [&](const ProgramResult&) {
                EXPECT_TRUE(!IsThere("snap") || IsWhole("snap"));
                Do({"gc", directory_, "base"});
                EXPECT_EQ(FilesLeft(), 1u);
              });
  EXPECT_TRUE(IsWhole("base"));
}

TEST_F(SnapshotFaultsTest, ALayerIsWholeOrAbsentAndItsParentAsItWas) {
  Do({"write", PathFor("base")});
  const auto check = [&](const ProgramResult& result) {
    EXPECT_TRUE(IsWhole("base"));
    ExpectWholeOrAbsent("top", result, 1);
  };
  const auto command = Writer({"layer", PathFor("base"), PathFor("top")});
  ForEachCall(kFileCalls, "error=EIO", command, check);
  ForEachCall(kFileCalls, "signal=KILL", command, check);
}

TEST_F(SnapshotFaultsTest, AFlattenedCopyIsWholeOrAbsent) {
  Do({"write", PathFor("base")});
  Do({"layer", PathFor("base"), PathFor("top")});
  const auto check = [&](const ProgramResult& result) {
    EXPECT_TRUE(IsWhole("top"));
    EXPECT_TRUE(IsThere("flat") ? IsWhole("flat") : result.status != 0);
    std::filesystem::remove_all(PathFor("flat"));
    Do({"gc", directory_, "top"});
    EXPECT_EQ(FilesLeft(), 2u);
  };
  const auto command = Writer({"flatten", PathFor("top"), PathFor("flat")});
  ForEachCall(kFileCalls, "error=ENOSPC", command, check);
  ForEachCall(kFileCalls, "signal=KILL", command, check);
}

TEST_F(SnapshotFaultsTest, WhatIsRemovedIsWholeOrGone) {
  Do({"write", PathFor("base")});
  const auto check = [&](const ProgramResult&) {
    EXPECT_TRUE(IsWhole("base"));
    EXPECT_TRUE(!IsThere("old") || IsWhole("old"));
    Do({"gc", directory_, "base"});
    EXPECT_EQ(FilesLeft(), 1u);
    Do({"write", PathFor("old")});
  };
  Do({"write", PathFor("old")});
  const auto command = Writer({"gc", directory_, "base"});
  ForEachCall(kRemoveCalls, "error=EIO", command, check);
  ForEachCall(kRemoveCalls, "signal=KILL", command, check);
}

// A native guest: it says itself whether its memory and registers are what they were.
class RestoreFaultsTest : public SnapshotFaultsTest {
 protected:
  void SetUp() override {
    SnapshotFaultsTest::SetUp();
    if (IsSkipped()) return;
    const auto booted = RunProgram(Writer({"boot", Build("test-guests/lives"), PathFor("snap")}));
    if (booted.status != 0) GTEST_SKIP() << "needs KVM: " << booted.err;
  }

  void FailRestores(const std::string& way, const std::string& fault) {
    ForEachCall(kRestoreCalls, fault, Writer({"restore", PathFor("snap"), way}),
                [&](const ProgramResult& result) {
                  if (result.status == 0) {
                    EXPECT_NE(result.out.find("PASSED"), std::string::npos) << result.out;
                  } else {
                    EXPECT_EQ(result.out.find("FAILED"), std::string::npos) << result.out;
                  }
                  EXPECT_EQ(FilesLeft(), 1u);
                });
    EXPECT_TRUE(IsWhole("snap"));
  }
};

TEST_F(RestoreFaultsTest, AFailedCallEndsAMappedRestoreOrDoesNotMatter) {
  FailRestores("map", "error=EIO");
}

TEST_F(RestoreFaultsTest, AFailedCallEndsAPagedRestoreOrDoesNotMatter) {
  FailRestores("uffd", "error=ENOMEM");
}

TEST_F(RestoreFaultsTest, AFailedCallEndsAnEagerRestoreOrDoesNotMatter) {
  FailRestores("eager", "error=EINTR");
}

TEST_F(RestoreFaultsTest, AKilledRestoreLeavesTheSnapshotAsItWas) {
  FailRestores("map", "signal=KILL");
}

// Real ones, where a limit of the file's size is in the middle of a write.
TEST_F(SnapshotFaultsTest, AShortWriteLeavesNothing) {
  for (int limit = 100; limit < 0x5000; limit += 900) {
    ++points_;
    SCOPED_TRACE(limit);
    const ProgramResult result = RunProgram(
        {"sh", "-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\" \"$@\"", std::to_string(limit),
         Build("bin/mayfly-snapshot-writer"), "write", PathFor("snap")});
    EXPECT_EQ(result.status, 1);
    EXPECT_NE(result.err.find("File too large"), std::string::npos) << result.err;
    EXPECT_EQ(FilesLeft(), 0u);
  }
}

}  // namespace
}  // namespace mayfly
