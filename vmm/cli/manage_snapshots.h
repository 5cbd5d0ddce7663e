#pragma once

#include <string>
#include <vector>

namespace mayfly {

// `mayfly snapshot verify`: compares all of it with its digests. Returns the exit status.
int RunVerify(const std::string& directory);

// `mayfly snapshot flatten`. Returns the exit status.
int RunFlatten(const std::string& from, const std::string& to);

// `mayfly snapshot gc`: prints what it removes. With nothing to keep, only what killed writers left
// goes. Returns the exit status.
int RunGarbageCollection(const std::string& directory, const std::vector<std::string>& keep,
                         bool dry_run);

}  // namespace mayfly
