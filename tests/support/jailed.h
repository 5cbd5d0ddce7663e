#pragma once

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

namespace mayfly {

// The arguments of a mayfly command, with --jail if MAYFLY_TEST_JAIL is set and it can be jailed:
// so tests of what mayfly does run once more with machines in jails.
inline std::vector<std::string> JailedIfAsked(std::vector<std::string> arguments) {
  const auto has = [&](const char* argument) {
    return std::ranges::find(arguments, argument) != arguments.end();
  };
  if (std::getenv("MAYFLY_TEST_JAIL") == nullptr || arguments.empty()) return arguments;
  const std::string& command = arguments.front();
  if (command != "run" && command != "invoke" && command != "vm") return arguments;
  if (has("--jail") || has("--help")) return arguments;
  arguments.emplace_back("--jail");
  return arguments;
}

}  // namespace mayfly
