#pragma once

#include <string>

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly build` as typed.
struct BuildArguments {
  std::string directory;
  std::string output;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddBuildCommand(CLI::App& app, BuildArguments& arguments);

// Builds the function image, says so on standard error, and returns the exit status.
int RunBuild(const BuildArguments& arguments);

}  // namespace mayfly
