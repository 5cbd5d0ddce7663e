#pragma once

#include <string>

#include "base/result.h"

namespace mayfly {

// Removes the Unix socket at `path` if it is this user's and nobody listens on it. Whatever else is
// there stays; nothing there is no error.
Result<void> RemoveDeadSocket(const std::string& path);

}  // namespace mayfly
