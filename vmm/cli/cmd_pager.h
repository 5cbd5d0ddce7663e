#pragma once

#include <string>

#include "base/result.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly pager` as typed.
struct PagerArguments {
  std::string directory;
  std::string socket;
  std::string fd;
  bool unverified = false;
  bool no_working_set = false;
};

struct PagerCommandOptions {
  std::string directory;  // The snapshot's.
  std::string socket;     // A path where nothing is yet; empty if there is `fd`.
  int fd = -1;            // A connected socket that was inherited.
  bool unverified = false;
  bool use_working_set = true;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddPagerCommand(CLI::App& app, PagerArguments& arguments);

Result<PagerCommandOptions> PreparePager(const PagerArguments& arguments);

}  // namespace mayfly
