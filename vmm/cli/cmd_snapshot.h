#pragma once

#include <string>

#include "base/result.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/cli/options.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly snapshot` as typed; empty where nothing was.
struct SnapshotArguments {
  RunArguments run;  // Of NAME.mfn; its event warms the function.
  std::string output;
  std::string warm;
  // `snapshot info DIR` and `snapshot verify DIR`.
  std::string info;
  bool json = false;
  std::string verify;
};

// Declares the subcommand and its own; `arguments` must outlive `app`.
void AddSnapshotCommand(CLI::App& app, SnapshotArguments& arguments);

// Checks the arguments of `mayfly snapshot NAME.mfn`.
Result<SnapshotOptions> PrepareSnapshot(const SnapshotArguments& arguments);

}  // namespace mayfly
