#include <csignal>

#include "tests/command/command_fixture.h"

namespace mayfly {
namespace {

class CommandTest : public CommandFixture {
 protected:
  static std::vector<std::string> Vm(const std::string& command_line) {
    return {"vm", "--kernel", Build("test-guests/basic"), "--cmdline", command_line};
  }
};

TEST_F(CommandTest, VmEndsWithThePowerOffOfItsGuest) {
  const ProgramResult result = Mayfly(Vm("hello"));
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "hello\nPASSED\n");
}

TEST_F(CommandTest, VmEndsWithTheResetOfItsGuest) {
  const ProgramResult result = Mayfly(Vm("reset-acpi"));
  EXPECT_EQ(result.status, 10);
  EXPECT_NE(result.err.find("reset"), std::string::npos);
}

// Not every KVM tells a triple fault from an instruction that it cannot emulate.
TEST_F(CommandTest, VmEndsWithTheTripleFaultOfItsGuest) {
  const int status = Mayfly(Vm("triple-fault")).status;
  EXPECT_TRUE(status == 11 || status == 12) << status;
}

TEST_F(CommandTest, StandardInputReachesTheGuest) {
  const ProgramResult result = Mayfly(Vm("echo"), "typed.");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "typedPASSED\n");
}

TEST_F(CommandTest, SigtermEndsTheMachineAndRemovesItsSocket) {
  std::vector<std::string> command{"timeout", "-s", "TERM", "--preserve-status", "2"};
  for (const std::string& argument : Command(Vm("loop"))) command.push_back(argument);
  command.emplace_back("--vsock");
  command.push_back(PathFor("v.sock"));
  EXPECT_EQ(RunProgram(command).status, 128 + SIGTERM);
  EXPECT_EQ(FilesLeft(), 0);
}

TEST_F(CommandTest, SigintEndsTheMachine) {
  std::vector<std::string> command{"timeout", "-s", "INT", "--preserve-status", "2"};
  for (const std::string& argument : Command(Vm("loop"))) command.push_back(argument);
  EXPECT_EQ(RunProgram(command).status, 128 + SIGINT);
}

TEST_F(CommandTest, ConfigurationFileMakesTheSameMachine) {
  Write("vm.json", R"({"kernel": ")" + Build("test-guests/basic") +
                       R"(", "cmdline": "hello", "memory_mib": 64})");
  const ProgramResult result = Mayfly({"vm", "--config", PathFor("vm.json")});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_EQ(result.out, "hello\nPASSED\n");
}

TEST_F(CommandTest, MetricsAreWrittenAtTheEndInTheFormThatTheNameAsksFor) {
  Write("disk", std::string(1 << 20, 'd'));
  std::vector<std::string> command = Vm("hello");
  command.insert(command.end(), {"--disk", PathFor("disk"), "--metrics", PathFor("m.prom")});
  EXPECT_EQ(Mayfly(command).status, 0);
  command.back() = PathFor("m.json");
  EXPECT_EQ(Mayfly(command).status, 0);
  const std::string text = Contents(PathFor("m.prom"));
  EXPECT_NE(text.find("mayfly_virtio_kicks_total{device=\"disk0\"} 0\n"), std::string::npos)
      << text;
  const std::string json = Contents(PathFor("m.json"));
  EXPECT_NE(json.find(R"("disk0":{"kicks_total":0,)"), std::string::npos) << json;
  EXPECT_EQ(FilesLeft(), 3);
}

TEST_F(CommandTest, Sigusr1WritesMetricsOfARunningMachine) {
  // Ignored at first, so that a signal that comes before the command waits for it does no harm.
  const std::string script =
      R"(trap '' USR1; "$@" & pid=$!; for i in $(seq 100); do kill -USR1 $pid;)"
      R"( [ -e "$OUT" ] && break; sleep 0.05; done; kill -TERM $pid; wait $pid; [ -e "$OUT" ])";
  std::vector<std::string> command = Command(Vm("loop"));
  command.insert(command.end(), {"--metrics", PathFor("m.prom"), "--rng"});
  command.insert(command.begin(), {"env", "OUT=" + PathFor("m.prom"), "sh", "-c", script, "sh"});
  const ProgramResult result = RunProgram(command);
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(Contents(PathFor("m.prom")).find("device=\"rng\""), std::string::npos);
}

TEST_F(CommandTest, EverySubcommandHasHelpWithExamples) {
  for (const char* subcommand : {"build", "run", "vm", "doctor", "version"}) {
    const ProgramResult result = Mayfly({subcommand, "--help"});
    EXPECT_EQ(result.status, 0);
    EXPECT_NE(result.out.find("mayfly"), std::string::npos) << subcommand;
  }
}

TEST_F(CommandTest, FullStandardOutputIsAnError) {
  const ProgramResult result =
      RunProgram({"sh", "-c", "exec \"$0\" version >/dev/full", Build("bin/mayfly")});
  EXPECT_EQ(result.status, 3);
}

TEST_F(CommandTest, SameDirectoryGivesTheSameImage) {
  EXPECT_EQ(Mayfly({"build", Build("examples/echo-c"), "-o", PathFor("a.mfn")}).status, 0);
  EXPECT_EQ(Mayfly({"build", Build("examples/echo-c"), "-o", PathFor("b.mfn")}).status, 0);
  EXPECT_TRUE(Contents(PathFor("a.mfn")) == Contents(PathFor("b.mfn")));
}

}  // namespace
}  // namespace mayfly
