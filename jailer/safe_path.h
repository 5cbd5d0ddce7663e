#pragma once

#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// Files and directories that somebody else may be exchanging for others while they are worked on:
// every step goes on from a descriptor, and no link is followed.

// The directory `path`, reached without links; all that is missing is created, for this user alone.
// kPermission if others could change what is in it.
Result<UniqueFd> OpenPrivateDirectory(const std::string& path);

// The directory or file `name` beneath `directory`, reached without links and "..".
Result<UniqueFd> OpenBeneath(int directory, const std::string& name, int flags);

// A new file; one that is there, or a link, is an error. Owned by this user alone.
Result<UniqueFd> CreateBeneath(int directory, const std::string& name);

// Reads up to `limit` bytes of a regular file of this user's that has no other name.
Result<std::string> ReadOwnFile(int directory, const std::string& name, size_t limit);

}  // namespace mayfly
