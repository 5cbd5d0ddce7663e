#pragma once

#include <string>

#include "snapshot/garbage.h"

namespace mayfly {

// `mayfly snapshot flatten`. Returns the exit status.
int RunFlatten(const std::string& from, const std::string& to);

// `mayfly snapshot gc`: prints what it removes. Returns the exit status.
int RunGarbageCollection(const GarbageOptions& options);

}  // namespace mayfly
