#pragma once

#include <unistd.h>

#include "tests/command/command_fixture.h"

namespace mayfly {

// Runs the mayfly command with --jail; records of jails are the test's own.
class JailFixture : public CommandFixture {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root, which the supervisor of a jail has";
    CommandFixture::SetUp();
    std::filesystem::create_directory(PathFor("run"));
    std::filesystem::permissions(PathFor("run"), std::filesystem::perms::owner_all);
  }

  [[nodiscard]] std::vector<std::string> JailedCommand(std::vector<std::string> arguments) const {
    arguments.emplace_back("--jail");
    std::vector<std::string> command = Command(std::move(arguments));
    command.insert(command.begin(), {"/usr/bin/env", "MAYFLY_RUN_DIR=" + PathFor("run"),
                                     "MAYFLY_CACHE=" + PathFor("cache")});
    return command;
  }
  [[nodiscard]] ProgramResult Jailed(std::vector<std::string> arguments,
                                     const std::string& input = "") const {
    return RunProgram(JailedCommand(std::move(arguments)), input);
  }
  void ExpectNothingLeft() const { EXPECT_TRUE(std::filesystem::is_empty(PathFor("run"))); }
  static void ExpectAnswer(const ProgramResult& result, std::string_view answer) {
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_EQ(result.out, answer);
    EXPECT_EQ(result.err.find("seccomp"), std::string::npos) << result.err;
  }
};

}  // namespace mayfly
