#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "jailer/cgroup.h"

namespace CLI {
class App;
}

namespace mayfly {

// The options about jails as typed; empty where nothing was.
struct JailArguments {
  bool jail = false;
  std::string id;
  std::string limit;
  std::string seccomp = "kill";
};

// How a machine is to be locked up.
struct JailRequest {
  bool wanted = false;
  std::string id{};       // Empty: one that no other machine has.
  CgroupLimits limits{};  // Where nothing is said, the machine's size decides.
  std::optional<uint64_t> file_bytes{};
  bool log = false;  // Instead of killing.

  bool operator==(const JailRequest&) const = default;
};

// Declares them; `arguments` must outlive `command`.
void AddJailOptions(CLI::App& command, JailArguments& arguments);

Result<JailRequest> PrepareJail(const JailArguments& arguments);

}  // namespace mayfly
