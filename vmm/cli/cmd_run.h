#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/cli/options.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly run` as typed; empty where nothing was.
struct RunArguments {
  std::string image;
  std::string event = "{}";
  std::string repeat;
  std::string memory;
  std::string vcpus;
  std::string timeout;
  std::vector<std::string> nets;
  std::string kernel;
  std::string guest_directory;
  std::string metrics;
  JailArguments jail;
  bool json = false;
  bool console = false;
  bool no_verify = false;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddRunCommand(CLI::App& app, RunArguments& arguments);

// The options that `run` and `snapshot` share: of the function and its machine.
void AddFunctionOptions(CLI::App& command, RunArguments& arguments);

// Checks the arguments, reads the event, and finds kernel and guest programs.
Result<RunOptions> PrepareRun(const RunArguments& arguments);

// The bytes of an event: `text` itself, those of FILE for @FILE, or of standard input for -.
Result<std::vector<uint8_t>> ReadEvent(const std::string& text);

// init and handler in `directory`, or, if that is empty, where builds and installations put them,
// relative to this executable.
Result<GuestPrograms> FindGuestPrograms(const std::string& directory);

}  // namespace mayfly
