#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace mayfly {

struct ProgramResult {
  int status;  // The exit status, or 128 and the signal's number.
  std::string out;
  std::string err;
  std::chrono::steady_clock::duration elapsed;
};

// Runs a program to its end with `input` on its standard input, and kills it after `timeout`: the
// status is -1 then. For tests that look at a command from outside.
ProgramResult RunProgram(const std::vector<std::string>& command, const std::string& input = "",
                         std::chrono::seconds timeout = std::chrono::seconds(120));

}  // namespace mayfly
