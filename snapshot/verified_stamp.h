#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "base/sha256.h"

namespace mayfly {

// Remembers which memory files were checked against their digests, so that the next restore of the
// same snapshot on this host need not. A stamp names each file's device, inode, size and times of
// change, and the manifest that it was checked against: a file that was touched since has none.
// Stamps are empty files in a directory that nobody but this user can write to.
class VerifiedStamps {
 public:
  // `directory` is created if it is not there. kPermission if others could write to it.
  static Result<VerifiedStamps> Open(const std::string& directory);

  // The stamp of a memory's files as they are now. Taken before they are read, so that what changes
  // in them meanwhile is not taken for checked.
  static Result<std::string> StampOf(std::span<const int> fds, const Sha256Digest& manifest);

  [[nodiscard]] bool Has(const std::string& stamp) const;
  [[nodiscard]] Result<void> Add(const std::string& stamp) const;

 private:
  explicit VerifiedStamps(std::string directory) : directory_(std::move(directory)) {}

  std::string directory_;
};

}  // namespace mayfly
