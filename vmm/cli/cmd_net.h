#pragma once

#include <string>

#include "base/result.h"
#include "vmm/cli/host_link.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly net` as typed; empty where nothing was.
struct NetArguments {
  enum class Action { kUp, kDown, kShow };

  Action action = Action::kShow;
  std::string tap;
  std::string address;
  std::string bridge;
  std::string netns;
  std::string mtu;
  std::string user;
  bool no_nat = false;
  bool host_access = false;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddNetCommand(CLI::App& app, NetArguments& arguments);

// The link that `up` or `down` is about.
Result<HostLink> PrepareLink(const NetArguments& arguments);

// Sets a link up and prints what to give to --net, takes one down, or lists them.
int RunNet(const NetArguments& arguments);

}  // namespace mayfly
