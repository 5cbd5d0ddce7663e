#include <csignal>
#include <filesystem>

#include "tests/command/command_fixture.h"

namespace mayfly {
namespace {

// `mayfly run` natively and without a jail: the test guest "control" stands in for a function.
class RunCommandTest : public CommandFixture {
 protected:
  void SetUp() override {
    CommandFixture::SetUp();
    ASSERT_EQ(Mayfly({"build", Build("examples/echo-c"), "-o", PathFor("f.mfn")}).status, 0);
  }

  [[nodiscard]] std::vector<std::string> Run(const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"run", PathFor("f.mfn"), "--kernel",
                                       Build("test-guests/control")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  // Runs `script` in a shell, with "$@" for a function that never answers, and its process id in
  // $pid.
  [[nodiscard]] ProgramResult InShell(const std::string& script,
                                      const std::vector<std::string>& more) const {
    std::vector<std::string> arguments{"--event", "!silent", "--timeout", "60s"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    std::vector<std::string> command = Command(Run(arguments));
    // The handler logs a line once it has its event.
    const std::string begin = R"("$@" 2>$ERR & pid=$!; until [ -s $ERR ]; do sleep 0.01; done; )";
    command.insert(command.begin(), {"env", "ERR=" + PathFor("err"), "OUT=" + PathFor("m.json"),
                                     "sh", "-c", begin + script, "sh"});
    return RunProgram(command);
  }
};

TEST_F(RunCommandTest, TheAnswerAloneIsPrinted) {
  const ProgramResult result = Mayfly(Run({"--event", "hello", "--repeat", "2"}));
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, "hellohello");
  EXPECT_EQ(result.err, "[1] stdout: a line\n[2] stdout: a line\n");
}

TEST_F(RunCommandTest, JsonHasAnswerLogAndTimings) {
  const ProgramResult result = Mayfly(Run({"--event", "hello", "--json"}));
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.err, "");
  for (const char* part : {R"({"timings":{"prepare_us":)", R"("boot_us":)", R"("load_us":)",
                           R"("ready_us":)", R"("ready_monotonic_ns":)", R"("answer":"hello")",
                           R"("total_us":)", R"("log":[{"stream":"stdout","text":"a line\n"}])"}) {
    EXPECT_NE(result.out.find(part), std::string::npos) << part << " in " << result.out;
  }
  // Microseconds, where a clock that was mistaken would have years.
  const size_t ready = result.out.find(R"("ready_us":)");
  EXPECT_LT(std::stoll(result.out.substr(ready + 11)), 60'000'000) << result.out;
}

TEST_F(RunCommandTest, AnErrorOfTheHandlersIsSaid) {
  const ProgramResult result = Mayfly(Run({"--event", "!error"}));
  EXPECT_EQ(result.status, 1);
  EXPECT_EQ(result.err, "[1] stdout: a line\nmayfly: Function.Test: as asked\n");
}

TEST_F(RunCommandTest, AnErrorOfTheHandlersIsInTheJsonToo) {
  const ProgramResult result = Mayfly(Run({"--event", "!error", "--json"}));
  EXPECT_EQ(result.status, 1);
  EXPECT_NE(result.out.find(R"("error":{"type":"Function.Test","message":"as asked"})"),
            std::string::npos)
      << result.out;
}

TEST_F(RunCommandTest, AMachineThatEndsIsSaid) {
  const ProgramResult result = Mayfly(Run({"--event", "!off"}));
  EXPECT_EQ(result.status, 15);
  EXPECT_NE(result.err.find("power-off"), std::string::npos) << result.err;
}

TEST_F(RunCommandTest, AHandlerThatIsSilentRunsOutOfTime) {
  const ProgramResult result = Mayfly(Run({"--event", "!silent", "--timeout", "100ms"}));
  EXPECT_EQ(result.status, 5);
  EXPECT_NE(result.err.find("Function.Timeout"), std::string::npos) << result.err;
}

TEST_F(RunCommandTest, ADamagedImageIsNotRunUnlessAsked) {
  std::string image = Contents(PathFor("f.mfn"));
  image[4096] ^= 1;
  Write("f.mfn", image);
  ExpectError(Mayfly(Run({"--event", "hello"})), 4, "f.mfn");
  EXPECT_EQ(Mayfly(Run({"--event", "hello", "--no-verify"})).out, "hello");
}

TEST_F(RunCommandTest, MetricsAreWrittenAtTheEndInTheFormThatTheNameAsksFor) {
  EXPECT_EQ(Mayfly(Run({"--metrics", PathFor("m.prom")})).status, 0);
  EXPECT_EQ(Mayfly(Run({"--metrics", PathFor("m.json")})).status, 0);
  const std::string text = Contents(PathFor("m.prom"));
  EXPECT_TRUE(text.starts_with("# HELP ")) << text;
  EXPECT_NE(text.find("device=\"disk0\""), std::string::npos) << text;
  const std::string json = Contents(PathFor("m.json"));
  EXPECT_TRUE(json.starts_with("{") && json.ends_with("}\n")) << json;
  EXPECT_NE(json.find(R"("disk0":{)"), std::string::npos) << json;
  EXPECT_EQ(FilesLeft(), 3);
}

TEST_F(RunCommandTest, Sigusr1WritesMetricsOfARunningFunction) {
  const ProgramResult result = InShell(
      R"(kill -USR1 $pid; until [ -e $OUT ]; do sleep 0.01; done; kill -TERM $pid; wait $pid)",
      {"--metrics", PathFor("m.json")});
  EXPECT_EQ(result.status, 128 + SIGTERM);
  EXPECT_TRUE(Contents(PathFor("m.json")).ends_with("}\n"));
}

TEST_F(RunCommandTest, ASignalEndsAnInvocation) {
  EXPECT_EQ(InShell("kill -INT $pid; wait $pid", {}).status, 128 + SIGINT);
  EXPECT_EQ(Contents(PathFor("err")), "[1] stdout: a line\nmayfly: interrupted by a signal\n");
  EXPECT_EQ(FilesLeft(), 2);
}

}  // namespace
}  // namespace mayfly
