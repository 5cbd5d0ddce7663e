#include <chrono>
#include <csignal>
#include <thread>

#include "tests/command/jail_fixture.h"
#include "tests/support/child_process.h"

namespace mayfly {
namespace {

namespace fs = std::filesystem;

// The command's machines in jails, natively: the test guest "control" stands in for a function.
class JailCommandTest : public JailFixture {
 protected:
  void SetUp() override {
    JailFixture::SetUp();
    if (IsSkipped()) return;
    ASSERT_EQ(Mayfly({"build", Build("examples/echo-c"), "-o", PathFor("f.mfn")}).status, 0);
  }

  [[nodiscard]] std::vector<std::string> Run() const {
    return {"run", PathFor("f.mfn"), "--kernel", Build("test-guests/control"), "--event", "[1]"};
  }
  void TakeSnapshot() const {
    const ProgramResult taken = Mayfly({"snapshot", PathFor("f.mfn"), "--kernel",
                                        Build("test-guests/control"), "-o", PathFor("f.snap")});
    ASSERT_EQ(taken.status, 0) << taken.err;
  }
  [[nodiscard]] std::vector<std::string> Invoke(const std::string& way) const {
    return {"invoke", PathFor("f.snap"), "--event", "[2]", "--memory", way};
  }
};

TEST_F(JailCommandTest, AFunctionAnswers) {
  ExpectAnswer(Jailed(Run()), "[1]");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, ACloneAnswersWithMappedMemory) {
  TakeSnapshot();
  ExpectAnswer(Jailed(Invoke("map")), "[2]");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, ACloneAnswersWithPagedMemory) {
  TakeSnapshot();
  ExpectAnswer(Jailed(Invoke("uffd")), "[2]");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, ACloneAnswersWithAPagerOfItsOwn) {
  TakeSnapshot();
  std::vector<std::string> command = Invoke("uffd");
  command.insert(command.end(), {"--pager", "auto"});
  ExpectAnswer(Jailed(command), "[2]");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, ACloneAnswersWithAPagerThatListens) {
  TakeSnapshot();
  const ChildProcess pager(
      Command({"pager", PathFor("f.snap"), "--socket", PathFor("pager"), "--unverified"}));
  while (!fs::exists(PathFor("pager"))) std::this_thread::yield();
  std::vector<std::string> command = Invoke("uffd");
  command.insert(command.end(), {"--pager", PathFor("pager"), "--seccomp", "log"});
  ExpectAnswer(Jailed(command), "[2]");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, AMachineWhosePagerDiesEndsWithItsError) {
  TakeSnapshot();
  ChildProcess pager(
      Command({"pager", PathFor("f.snap"), "--socket", PathFor("pager"), "--unverified"}));
  while (!fs::exists(PathFor("pager"))) std::this_thread::yield();
  std::vector<std::string> command = Invoke("uffd");
  command.insert(command.end(), {"--pager", PathFor("pager"), "--repeat", "1000000"});
  std::thread loss([&] {
    while (fs::is_empty(PathFor("run"))) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    pager.Signal(SIGKILL);
  });
  const ProgramResult result = Jailed(command);
  loss.join();
  EXPECT_EQ(result.status, 14) << result.err.substr(result.err.rfind("mayfly: "));
  EXPECT_NE(result.err.find("pager: it has died, or hung up"), std::string::npos);
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, ACloneAnswersWithEagerMemory) {
  TakeSnapshot();
  ExpectAnswer(Jailed(Invoke("eager")), "[2]");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, NothingIsCalledThatTheFiltersWouldNotAllow) {
  TakeSnapshot();
  std::vector<std::string> command = Invoke("uffd");
  command.insert(command.end(), {"--seccomp", "log", "--console", "--repeat", "3"});
  const ProgramResult result = Jailed(command);
  ExpectAnswer(result, "[2][2][2]");
}

TEST_F(JailCommandTest, ARecordedWorkingSetReachesTheSnapshot) {
  TakeSnapshot();
  std::vector<std::string> command = Invoke("uffd");
  command.emplace_back("--record");
  ExpectAnswer(Jailed(command), "[2]");
  EXPECT_TRUE(fs::is_regular_file(PathFor("f.snap/working-set")));
  ExpectAnswer(Jailed(Invoke("uffd")), "[2]");
}

// Whatever thread comes first finds its page gone; the I/O thread by a signal, which it has to be
// able to return from.
TEST_F(JailCommandTest, AMachineWhoseMemoryFileIsLostEndsWithItsError) {
  TakeSnapshot();
  std::vector<std::string> command = Invoke("map");
  command.insert(command.end(), {"--repeat", "1000000", "--unverified"});
  std::thread loss([this] {
    while (fs::is_empty(PathFor("run"))) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    fs::resize_file(PathFor("f.snap/memory"), 0);
  });
  const ProgramResult result = Jailed(command);
  loss.join();
  // A page is gone; or the page tables are, which is a triple fault.
  const std::string last = result.err.substr(result.err.rfind("mayfly: "));
  EXPECT_TRUE(result.status == 14 || result.status == 11) << result.status << last;
  EXPECT_NE(last.find("the guest ended before its answer"), std::string::npos) << last;
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, MetricsReachTheirFile) {
  std::vector<std::string> command = Run();
  command.insert(command.end(), {"--metrics", PathFor("m.json")});
  ExpectAnswer(Jailed(command), "[1]");
  EXPECT_NE(Contents(PathFor("m.json")).find("\"disk0\""), std::string::npos);
}

TEST_F(JailCommandTest, APlainMachineHasItsConsole) {
  const ProgramResult result =
      Jailed({"vm", "--kernel", Build("test-guests/basic"), "--cmdline", "echo"}, "typed.");
  ExpectAnswer(result, "typedPASSED\n");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, APlainMachineHasItsDisk) {
  Write("disk", std::string(1 << 20, 'd'));
  const ProgramResult result =
      Jailed({"vm", "--kernel", Build("test-guests/blk"), "--disk", PathFor("disk")});
  EXPECT_EQ(result.status, 0) << result.err << result.out;
  EXPECT_EQ(result.err, "");
}

TEST_F(JailCommandTest, APlainMachineHasItsEntropy) {
  const ProgramResult result =
      Jailed({"vm", "--kernel", Build("test-guests/rng"), "--rng", "--seccomp", "log"});
  ExpectAnswer(result, "PASSED\n");
}

// The guest gives up 64 MiB, and waits for another target then.
TEST_F(JailCommandTest, APlainMachineGivesItsMemoryUp) {
  std::vector<std::string> command = JailedCommand(
      {"vm", "--kernel", Build("test-guests/balloon"), "--balloon", "target=64M,stats=100ms"});
  command.insert(command.begin(), {"sh", "-c",
                                   R"("$@" >$0 & until grep -qs inflated $0; do sleep 0.01; done; )"
                                   R"(kill -TERM $!; wait $!)",
                                   PathFor("out")});
  const ProgramResult result = RunProgram(command);
  EXPECT_EQ(result.status, 128 + SIGTERM) << result.err;
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(Contents(PathFor("out")), "touched\ninflated\n");
  ExpectNothingLeft();
}

// In each way to fill its memory; each life says its number.
TEST_F(JailCommandTest, APlainMachineIsRestoredInEachWay) {
  const ProgramResult saved = Mayfly({"vm", "--kernel", Build("test-guests/lives"), "--cmdline",
                                      "1 4", "--snapshot-to", PathFor("s"), "--snapshot-exit"});
  ASSERT_EQ(saved.status, 0) << saved.err;
  for (const char* way : {"map", "uffd", "eager"}) {
    const std::vector<std::string> command{"vm", "--restore", PathFor("s"), "--memory", way};
    ExpectAnswer(Jailed(command), "life 0000000000000001\nPASSED\n");
    std::vector<std::string> unverified = command;
    unverified.insert(unverified.end(), {"--unverified", "--seccomp", "log"});
    ExpectAnswer(Jailed(unverified), "life 0000000000000001\nPASSED\n");
  }
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, APlainMachineIsRestoredWithItsDevices) {
  Write("disk", std::string(1 << 20, 'd'));
  const ProgramResult saved =
      Mayfly({"vm", "--kernel", Build("test-guests/lives"), "--cmdline", "1 1", "--disk",
              PathFor("disk"), "--vsock", PathFor("v"), "--rng", "--balloon", "target=0",
              "--snapshot-to", PathFor("s"), "--snapshot-exit"});
  ASSERT_EQ(saved.status, 0) << saved.err;
  const ProgramResult restored =
      Jailed({"vm", "--restore", PathFor("s"), "--vsock", PathFor("w"), "--disk",
              PathFor("disk") + ",overlay=" + PathFor("layer")});
  ExpectAnswer(restored, "life 0000000000000001\nPASSED\n");
  EXPECT_FALSE(fs::exists(PathFor("w")));
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, DamagedMemoryIsRefusedInEachWay) {
  const ProgramResult saved = Mayfly({"vm", "--kernel", Build("test-guests/lives"), "--cmdline",
                                      "1 1", "--snapshot-to", PathFor("s"), "--snapshot-exit"});
  ASSERT_EQ(saved.status, 0) << saved.err;
  std::string memory = Contents(PathFor("s/memory"));
  memory[0xde000] = static_cast<char>(memory[0xde000] ^ 1);
  Write("s/memory", memory);
  for (const char* way : {"map", "uffd", "eager"}) {
    ExpectError(Jailed({"vm", "--restore", PathFor("s"), "--memory", way}), 4, "memory");
  }
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, APlainMachineIsSaved) {
  Write("disk", std::string(1 << 20, 'd'));
  const ProgramResult saved =
      Jailed({"vm", "--kernel", Build("test-guests/lives"), "--cmdline", "2 4", "--disk",
              PathFor("disk"), "--vsock", PathFor("v"), "--rng", "--snapshot-to", PathFor("s"),
              "--snapshot-exit", "--seccomp", "log"});
  ExpectAnswer(saved, "");
  ExpectNothingLeft();
  EXPECT_EQ(Mayfly({"snapshot", "verify", PathFor("s")}).status, 0);

  // And a machine that was restored, in each way.
  for (const std::string way : {"map", "uffd", "eager"}) {
    ExpectAnswer(Jailed({"vm", "--restore", PathFor("s"), "--memory", way, "--snapshot-to",
                         PathFor(way), "--snapshot-exit"}),
                 "life 0000000000000001\n");
    ExpectAnswer(Jailed({"vm", "--restore", PathFor(way)}), "life 0000000000000002\nPASSED\n");
  }
}

TEST_F(JailCommandTest, APlainMachineOfSeveralCpusIsSaved) {
  const ProgramResult saved = Jailed({"vm", "--kernel", Build("test-guests/lives"), "--vcpus", "2",
                                      "--cmdline", "1 4", "--snapshot-to", PathFor("s")});
  ExpectAnswer(saved, "life 0000000000000001\nPASSED\n");
  ExpectAnswer(Jailed({"vm", "--restore", PathFor("s")}), "life 0000000000000001\nPASSED\n");
}

TEST_F(JailCommandTest, ASnapshotAboveTheSizeOfFilesIsAnErrorAndLeavesNothing) {
  const ProgramResult saved =
      Jailed({"vm", "--kernel", Build("test-guests/lives"), "--cmdline", "1 4", "--snapshot-to",
              PathFor("s"), "--limit", "file-size=1M"});
  EXPECT_EQ(saved.status, 0) << saved.err;
  EXPECT_EQ(saved.out, "life 0000000000000001\nPASSED\n");
  EXPECT_EQ(saved.err, "mayfly: error: snapshot: write memory: File too large\n");
  ExpectNothingLeft();
  EXPECT_EQ(FilesLeft(), 3);  // "run", "f.mfn" and "cache".
}

TEST_F(JailCommandTest, ASnapshotOnAFullDiskIsAnErrorAndLeavesNothing) {
  fs::create_directory(PathFor("small"));
  std::vector<std::string> command =
      JailedCommand({"vm", "--kernel", Build("test-guests/lives"), "--cmdline", "1 4",
                     "--snapshot-to", PathFor("small/s")});
  command.insert(command.begin(), {"unshare", "-m", "sh", "-c",
                                   R"(mount -t tmpfs -o size=16k none "$0" && "$@" && ls -A "$0")",
                                   PathFor("small")});
  const ProgramResult saved = RunProgram(command);
  EXPECT_EQ(saved.status, 0) << saved.err;
  EXPECT_EQ(saved.out, "life 0000000000000001\nPASSED\n");
  EXPECT_NE(saved.err.find("snapshot: write memory: No space left on device"), std::string::npos)
      << saved.err;
}

TEST_F(JailCommandTest, ASnapshotOfAMachineThatIsNeverSavedLeavesNothing) {
  const ProgramResult ended = Jailed({"vm", "--kernel", Build("test-guests/basic"), "--cmdline",
                                      "hello", "--snapshot-to", PathFor("s")});
  EXPECT_EQ(ended.status, 0) << ended.err;
  ExpectNothingLeft();
  EXPECT_EQ(FilesLeft(), 3);
}

TEST_F(JailCommandTest, SigtermEndsTheMachine) {
  std::vector<std::string> command{
      "timeout", "-s", "TERM", "--preserve-status", "2", "env", "MAYFLY_RUN_DIR=" + PathFor("run")};
  const auto vm =
      Command({"vm", "--kernel", Build("test-guests/basic"), "--cmdline", "loop", "--jail"});
  command.insert(command.end(), vm.begin(), vm.end());
  EXPECT_EQ(RunProgram(command).status, 128 + SIGTERM);
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, AMachineAboveItsMemoryLimitEndsAndTheSupervisorSaysWhy) {
  // In a page fault, which kills it, or in a system call that fails for want of memory.
  std::vector<std::string> command = Run();
  command.insert(command.end(), {"--limit", "memory=2M"});
  const ProgramResult result = Jailed(command);
  EXPECT_EQ(result.status, 3);
  EXPECT_NE(result.err.find("its memory limit of 2 MiB"), std::string::npos) << result.err;
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, HostileNamesAreRefused) {
  for (const char* name : {"../x", "a/b", "", ".", "caf\xc3\xa9", "-x", "a b"}) {
    std::vector<std::string> command = Run();
    command.push_back(std::string("--jail-id=") + name);
    const ProgramResult result = Jailed(command);
    EXPECT_NE(result.status, *name == '\0' ? -1 : 0) << name;
  }
  std::vector<std::string> command = Run();
  command.insert(command.end(), {"--jail-id", std::string(65, 'a')});
  ExpectError(Jailed(command), 2, "--jail-id");
  ExpectNothingLeft();
}

TEST_F(JailCommandTest, ANameIsGivenOnce) {
  fs::create_directory(PathFor("run/taken"));
  std::vector<std::string> command = Run();
  command.insert(command.end(), {"--jail-id", "taken"});
  ExpectError(Jailed(command), 2, "taken");
  const ProgramResult collected =
      RunProgram({Build("bin/mayfly-jailer"), "gc", "--run-dir", PathFor("run")});
  EXPECT_EQ(collected.status, 0) << collected.err;
  ExpectAnswer(Jailed(command), "[1]");
}

TEST_F(JailCommandTest, OptionsOfAJailNeedOne) {
  ExpectError(Mayfly({"invoke", PathFor("x"), "--limit", "cpu=10"}), 2, "--jail");
}

}  // namespace
}  // namespace mayfly
