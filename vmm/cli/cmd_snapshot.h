#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/cli/cmd_invoke.h"
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
  bool json = false;  // Also of `snapshot info`.
  // `snapshot info DIR` and `snapshot verify DIR`.
  std::string info;
  std::string verify;
  std::string flatten;  // `snapshot flatten DIR -o DIR`.
  std::string flatten_output;
  // `snapshot gc DIR`.
  std::string garbage;
  std::vector<std::string> keep;
  bool dry_run = false;
  // `snapshot record DIR`.
  InvokeArguments record;
  std::string runs = "3";
  bool add = false;
};

// Declares the subcommand and its own; `arguments` must outlive `app`.
void AddSnapshotCommand(CLI::App& app, SnapshotArguments& arguments);

// Checks the arguments of `mayfly snapshot NAME.mfn`.
Result<SnapshotOptions> PrepareSnapshot(const SnapshotArguments& arguments);
// The same of `mayfly snapshot DIR`.
Result<LayerOptions> PrepareLayer(const SnapshotArguments& arguments);
Result<RecordOptions> PrepareRecord(const SnapshotArguments& arguments);

}  // namespace mayfly
