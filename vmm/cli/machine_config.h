#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "vmm/cli/options.h"

namespace mayfly {

// Reads a machine's configuration file, JSON (docs/machine-config.md). What it leaves out keeps its
// default; relative paths in it are relative to the file's directory. Errors are kInvalidArgument
// and name the path of what is wrong; a missing file is kNotFound.
Result<VmOptions> ReadMachineConfig(const std::string& path);

// The same for its text; `name` stands in front of errors.
Result<VmOptions> ParseMachineConfig(std::string_view text, const std::string& name,
                                     const std::string& directory);

}  // namespace mayfly
