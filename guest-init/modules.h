#pragma once

#include <string>

#include "base/result.h"

namespace mayfly::init {

// Loads the kernel modules in `directory`: those that its file load-order names, one a line, or
// without such a file all of them by name. Returns how many; none if there is no such directory.
Result<size_t> LoadModules(const std::string& directory);

}  // namespace mayfly::init
