#include "vmm/function/run_program.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "tests/unit/vmm/function/scratch.h"

namespace mayfly {
namespace {

TEST(RunProgramTest, ReturnsStatusAndOutput) {
  const auto interrupts = Interrupts::Create();
  const auto outcome = RunProgram({"sh", "-c", "pwd; echo error >&2; exit 7"}, "/usr", *interrupts);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(WEXITSTATUS(outcome->status), 7);
  EXPECT_EQ(outcome->output, "/usr\nerror\n");
}

TEST(RunProgramTest, EnvironmentHoldsPathAlone) {
  const ScopedVariable secret("MAYFLY_TEST_SECRET", "x");
  const auto interrupts = Interrupts::Create();
  const auto outcome = RunProgram({"env"}, "/", *interrupts);
  EXPECT_TRUE(Mentions(outcome->output.substr(0, outcome->output.size() - 1), "PATH="));
}

TEST(RunProgramTest, OutputIsBounded) {
  const auto interrupts = Interrupts::Create();
  const auto outcome = RunProgram({"head", "-c", "1000000", "/dev/zero"}, "/", *interrupts);
  EXPECT_EQ(outcome->output.size(), 16u * 1024);
  EXPECT_EQ(outcome->status, 0);
}

TEST(RunProgramTest, MissingProgramIsNotFound) {
  const auto interrupts = Interrupts::Create();
  const auto outcome = RunProgram({"no-such-program"}, "/", *interrupts);
  EXPECT_EQ(CodeOf(outcome), ErrorCode::kNotFound);
  EXPECT_TRUE(Mentions(MessageOf(outcome), "no-such-program"));
}

// In a process of its own, which has no children but those that RunProgram() leaves.
[[noreturn]] void InterruptAProgram() {
  const auto interrupts = Interrupts::Create();
  std::thread sender([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ::kill(::getpid(), SIGTERM);
  });
  const auto code = CodeOf(RunProgram({"sleep", "600"}, "/", *interrupts));
  sender.join();
  const bool taken = interrupts->Take() == SIGTERM;
  const bool child_left = ::waitpid(-1, nullptr, WNOHANG) != -1;
  ::_exit(code == ErrorCode::kCancelled && taken && !child_left ? 0 : 1);
}

TEST(RunProgramTest, SignalKillsTheProgramAndNoChildIsLeft) {
  EXPECT_EXIT(InterruptAProgram(), testing::ExitedWithCode(0), "");
}

TEST(InterruptsTest, CheckSeesASignalAndTakeConsumesIt) {
  const auto interrupts = Interrupts::Create();
  EXPECT_TRUE(interrupts->Check());
  EXPECT_EQ(interrupts->Take(), 0);
  ASSERT_EQ(::raise(SIGINT), 0);
  EXPECT_EQ(CodeOf(interrupts->Check()), ErrorCode::kCancelled);
  EXPECT_EQ(interrupts->Take(), SIGINT);
  EXPECT_TRUE(interrupts->Check());
}

}  // namespace
}  // namespace mayfly
