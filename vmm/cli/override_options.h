#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "vmm/config/overrides.h"

namespace CLI {
class App;
}

namespace mayfly {

// Declares --override of a subcommand; `texts` must outlive `command`.
void AddOverrideOption(CLI::App& command, std::vector<std::string>& texts);

// What was given, as ParseOverrides() has it.
Result<Overrides> ParseOverrideOption(const std::vector<std::string>& texts);

}  // namespace mayfly
