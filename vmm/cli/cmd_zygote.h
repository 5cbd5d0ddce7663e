#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "vmm/cli/jail_request.h"

namespace CLI {
class App;
}

namespace mayfly {

// `mayfly zygote` as typed.
struct ZygoteArguments {
  std::string directory;
  std::string manifest;
  std::string image;
  std::string stock = "0";
  bool no_working_set = false;
  std::string limit;
};

struct ZygoteCommandOptions {
  std::string directory;  // The snapshot's.
  std::string manifest;   // The digest of its manifest, in hexadecimal.
  std::string image;      // The function's, if it is elsewhere than at the snapshot.
  uint32_t stock = 0;
  bool use_working_set = true;
  JailRequest jail;
};

// Declares the subcommand; `arguments` must outlive `app`.
void AddZygoteCommand(CLI::App& app, ZygoteArguments& arguments);

Result<ZygoteCommandOptions> PrepareZygote(const ZygoteArguments& arguments);

}  // namespace mayfly
