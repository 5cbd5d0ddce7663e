#include <filesystem>

#include "tests/command/command_fixture.h"

namespace mayfly {
namespace {

// `mayfly snapshot` of an image, natively: the test guest "control" stands in for a function.
class SnapshotCommandTest : public CommandFixture {
 protected:
  void SetUp() override {
    CommandFixture::SetUp();
    ASSERT_EQ(Mayfly({"build", Build("examples/echo-c"), "-o", PathFor("f.mfn")}).status, 0);
  }

  ProgramResult Snapshot(const std::vector<std::string>& more) {
    std::vector<std::string> arguments{"snapshot", PathFor("f.mfn"),
                                       "--kernel", Build("test-guests/control"),
                                       "-o",       PathFor("f.snap")};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Mayfly(arguments);
  }
  void ExpectNoSnapshot(const ProgramResult& result, int status, const std::string& text) {
    EXPECT_EQ(result.status, status);
    EXPECT_NE(result.err.find(text), std::string::npos) << result.err;
    EXPECT_FALSE(std::filesystem::exists(PathFor("f.snap")));
  }
};

TEST_F(SnapshotCommandTest, WarmingsPrintWhatTheyAnswerAndTheSnapshotAnswersToo) {
  const ProgramResult saved = Snapshot({"--warm", "2", "--event", "warm"});
  EXPECT_EQ(saved.status, 0);
  EXPECT_EQ(saved.out, "warmwarm");
  EXPECT_EQ(saved.err, "[1] stdout: a line\n[2] stdout: a line\n");
  const ProgramResult asked = Mayfly({"invoke", PathFor("f.snap"), "--event", "hello"});
  EXPECT_EQ(asked.out, "hello") << asked.err;
}

TEST_F(SnapshotCommandTest, JsonSaysHowItWentAndNothingElse) {
  const ProgramResult saved = Snapshot({"--warm", "1", "--json"});
  EXPECT_EQ(saved.status, 0);
  EXPECT_TRUE(saved.out.starts_with(R"({"pause_us":)")) << saved.out;
  EXPECT_NE(saved.out.find(R"("data_bytes":)"), std::string::npos) << saved.out;
  EXPECT_EQ(saved.err, "");
}

TEST_F(SnapshotCommandTest, AFailureOfTheWarmingIsTheCommands) {
  ExpectNoSnapshot(Snapshot({"--warm", "1", "--event", "!error"}), 1, "Function.Test: as asked");
  ExpectNoSnapshot(Snapshot({"--warm", "1", "--event", "!off"}), 15, "power-off");
  ExpectNoSnapshot(Snapshot({"--warm", "1", "--event", "!silent", "--timeout", "100ms"}), 5,
                   "Function.Timeout");
}

TEST_F(SnapshotCommandTest, ATapThatIsNotThereIsNamed) {
  ExpectNoSnapshot(Snapshot({"--net",
                             "tap=no-such-tap,mac=02:00:00:00:00:01,mtu=1400,"
                             "address=172.31.0.2/30,gateway=172.31.0.1,dns=1.1.1.1"}),
                   4, "no-such-tap");
}

TEST_F(SnapshotCommandTest, WhatIsThereAlreadyStays) {
  ASSERT_EQ(Snapshot({}).status, 0);
  const ProgramResult again = Snapshot({});
  EXPECT_EQ(again.status, 2);
  EXPECT_NE(again.err.find("already there"), std::string::npos) << again.err;
  EXPECT_EQ(Mayfly({"snapshot", "verify", PathFor("f.snap")}).status, 0);
}

TEST_F(SnapshotCommandTest, ASignalEndsIt) {
  // Once the handler has its event, which it logs.
  const std::string script =
      R"("$@" 2>$ERR & pid=$!; until [ -s $ERR ]; do sleep 0.01; done; kill -TERM $pid; wait $pid)";
  std::vector<std::string> command =
      Command({"snapshot", PathFor("f.mfn"), "--kernel", Build("test-guests/control"), "-o",
               PathFor("f.snap"), "--warm", "1", "--event", "!silent", "--timeout", "60s"});
  command.insert(command.begin(), {"env", "ERR=" + PathFor("err"), "sh", "-c", script, "sh"});
  EXPECT_EQ(RunProgram(command).status, 143);
  EXPECT_EQ(Contents(PathFor("err")), "[1] stdout: a line\nmayfly: interrupted by a signal\n");
  EXPECT_FALSE(std::filesystem::exists(PathFor("f.snap")));
}

}  // namespace
}  // namespace mayfly
