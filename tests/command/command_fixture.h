#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/jailed.h"
#include "tests/support/program.h"

namespace mayfly {

// Runs the mayfly command in a directory that goes with the test.
class CommandFixture : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/mayfly-command.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] std::string PathFor(const std::string& name) const {
    return directory_ + "/" + name;
  }
  static std::string Build(const std::string& name) {
    return std::string(MAYFLY_BUILD_DIR) + "/" + name;
  }
  void Write(const std::string& name, std::string_view contents) const {
    std::ofstream(PathFor(name), std::ios::binary)
        .write(contents.data(), static_cast<std::streamsize>(contents.size()));
  }
  static std::string Contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static std::vector<std::string> Command(std::vector<std::string> arguments) {
    arguments = JailedIfAsked(std::move(arguments));
    arguments.insert(arguments.begin(), Build("bin/mayfly"));
    return arguments;
  }
  static ProgramResult Mayfly(std::vector<std::string> arguments, const std::string& input = "") {
    return RunProgram(Command(std::move(arguments)), input);
  }
  // One line that names the thing, on standard error and nowhere else, with this exit status.
  static void ExpectError(const ProgramResult& result, int status, std::string_view named) {
    EXPECT_EQ(result.status, status) << result.err;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(result.err.find("mayfly: "), 0) << result.err;
    EXPECT_EQ(std::ranges::count(result.err, '\n'), 1) << result.err;
    EXPECT_NE(result.err.find(named), std::string::npos) << result.err;
  }
  [[nodiscard]] size_t FilesLeft() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(directory_), {}));
  }

  std::string directory_;
};

}  // namespace mayfly
