#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/machine_state.h"
#include "snapshot/manifest.h"
#include "snapshot/memory_image.h"
#include "snapshot/snapshot_folder.h"
#include "snapshot/working_set.h"

namespace mayfly {

// A snapshot that was opened and checked, with those that it lies over, in all but the contents of
// their memory. As long as it is there, RemoveSnapshots() leaves them alone.
class Snapshot {
 public:
  // So many snapshots can lie one over the other: each is opened, and looked through, at a restore.
  static constexpr size_t kMostLayers = 16;

  // The files are untrusted: errors name the file, and are kCorrupt, kNotFound, or kUnsupported for
  // another version.
  static Result<Snapshot> Open(const std::string& path);

  [[nodiscard]] const std::string& path() const { return folders_.front().path(); }
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const Sha256Digest& manifest_digest() const { return manifest_digest_; }
  // Itself, its parent, and so on.
  [[nodiscard]] size_t layers() const { return folders_.size(); }
  [[nodiscard]] MachineState TakeState() { return std::move(state_); }
  [[nodiscard]] std::unique_ptr<MemoryImage> TakeMemory() { return std::move(memory_); }
  // The working set beside the snapshot, if there is one. kCorrupt if it is damaged.
  [[nodiscard]] Result<std::optional<WorkingSet>> ReadWorkingSet() const;

 private:
  Snapshot() = default;
  Result<void> OpenMemory();
  // Opens the parent of the lowest layer so far.
  Result<Manifest> OpenParent(const Manifest& child);

  Manifest manifest_;
  Sha256Digest manifest_digest_{};
  MachineState state_;
  std::unique_ptr<MemoryImage> memory_;
  std::vector<SnapshotFolder> folders_;  // This one's, its parent's, and so on.
};

// Gives the snapshot at `path` another working set, at once or not at all.
Result<void> WriteWorkingSet(const std::string& path, const WorkingSet& set);

}  // namespace mayfly
