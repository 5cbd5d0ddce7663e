#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/cli/options.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly vm` as typed; empty where nothing was.
struct VmArguments {
  std::string config;
  std::string kernel;
  std::string initrd;
  std::optional<std::string> command_line;
  std::string memory;
  std::string vcpus;
  std::vector<std::string> disks;
  std::vector<std::string> nets;
  std::string vsock;
  std::string metrics;
  std::string balloon;
  bool rng = false;
  std::string restore;
  std::vector<std::string> overrides;
  bool unverified = false;
  std::string snapshot_to;
  std::string snapshot_after;
  bool snapshot_exit = false;
  JailArguments jail;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddVmCommand(CLI::App& app, VmArguments& arguments);

// Reads the configuration file, puts the flags over it (a flag replaces what the file says, --disk
// and --net the whole list), and checks the result against this host. With --restore there is no
// file, and the flags stand over what the snapshot says.
Result<VmOptions> PrepareVm(const VmArguments& arguments);

}  // namespace mayfly
