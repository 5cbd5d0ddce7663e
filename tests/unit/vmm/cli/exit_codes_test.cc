#include "vmm/cli/exit_codes.h"

#include <gtest/gtest.h>

#include <csignal>
#include <set>

namespace mayfly {
namespace {

TEST(ExitCodesTest, ErrorsMap) {
  EXPECT_EQ(ExitCodeOf(ErrorCode::kHandler), ExitCode::kHandlerError);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kInvalidArgument), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kTooLarge), ExitCode::kUsage);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kHost), ExitCode::kHost);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kPermission), ExitCode::kHost);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kUnsupported), ExitCode::kHost);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kNotFound), ExitCode::kBadFile);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kCorrupt), ExitCode::kBadFile);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kTimeout), ExitCode::kTimeout);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kGuest), ExitCode::kGuestBroke);
  EXPECT_EQ(ExitCodeOf(ErrorCode::kCancelled), ExitCode::kInterrupted);
}

TEST(ExitCodesTest, EndsOfAMachineMap) {
  EXPECT_EQ(ExitCodeOf(EndReason::kPowerOff), ExitCode::kSuccess);
  EXPECT_EQ(ExitCodeOf(EndReason::kReset), ExitCode::kGuestReset);
  EXPECT_EQ(ExitCodeOf(EndReason::kTripleFault), ExitCode::kTripleFault);
  EXPECT_EQ(ExitCodeOf(EndReason::kInternalError), ExitCode::kKvmInternalError);
  EXPECT_EQ(ExitCodeOf(EndReason::kUnknownExit), ExitCode::kUnknownExit);
  EXPECT_EQ(ExitCodeOf(EndReason::kMemoryIntegrity), ExitCode::kMemoryIntegrity);
  EXPECT_EQ(ExitCodeOf(EndReason::kHostError), ExitCode::kHost);
  EXPECT_EQ(ExitCodeOf(EndReason::kStopped), ExitCode::kInterrupted);
}

TEST(ExitCodesTest, SignalsMapAsInShells) {
  EXPECT_EQ(ExitStatusOfSignal(SIGINT), static_cast<int>(ExitCode::kInterrupted));
  EXPECT_EQ(ExitStatusOfSignal(SIGTERM), static_cast<int>(ExitCode::kTerminated));
}

TEST(ExitCodesTest, TableHasEachCodeOnce) {
  std::set<ExitCode> codes;
  for (const ExitCodeMeaning& row : kExitCodes) codes.insert(row.code);
  EXPECT_EQ(codes.size(), kExitCodes.size());
}

}  // namespace
}  // namespace mayfly
