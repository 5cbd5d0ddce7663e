#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/cli/options.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly invoke` as typed; empty where nothing was.
struct InvokeArguments {
  std::string directory;
  std::string event = "{}";
  std::string repeat;
  std::string memory = "map";
  std::string timeout;
  std::string image;
  std::vector<std::string> nets;
  std::vector<std::string> overrides;
  std::string metrics;
  std::string pager;
  std::string pager_timeout = "2s";
  JailArguments jail;
  bool json = false;
  bool console = false;
  bool unverified = false;
  bool record = false;
  bool no_working_set = false;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddInvokeCommand(CLI::App& app, InvokeArguments& arguments);

// Checks the arguments, and reads the event.
Result<RestoreOptions> PrepareInvoke(const InvokeArguments& arguments);

// "map", "uffd" or "eager".
Result<FillMemory> ParseFillMemory(const std::string& text);

}  // namespace mayfly
