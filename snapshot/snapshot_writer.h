#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "snapshot/machine_state.h"
#include "snapshot/manifest.h"
#include "snapshot/page_runs.h"
#include "snapshot/snapshot_directory.h"
#include "snapshot/snapshot_folder.h"
#include "snapshot/verified_stamp.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Writes a snapshot into a new directory, whole or not at all: into a directory beside it, synced,
// then renamed. One thread.
class SnapshotWriter {
 public:
  // With a parent, only the pages that are not as there are written. kInvalidArgument if `path`
  // exists, or if there is no room over the parent; else as MemoryImage's errors.
  static Result<SnapshotWriter> Create(const std::string& path,
                                       std::optional<Snapshot> parent = std::nullopt);

  // Writes the memory of a machine, which was restored from the parent if there is one. The machine
  // is paused meanwhile, and can go on after it.
  Result<void> WriteMemory(const GuestMemory& memory);
  // For somebody else, instead of WriteMemory(): the file, which then has this size. It is written
  // when Publish() is called.
  Result<UniqueFd> OpenMemory(uint64_t bytes);
  // Writes the rest, makes it last and gives it its name. `manifest` says what the machine is bound
  // to; its other fields are filled in. `stamps` may be null; else the memory counts as checked, if
  // the parent's does.
  Result<void> Publish(Manifest manifest, const MachineState& state,
                       const VerifiedStamps* stamps) &&;

  // What WriteMemory() wrote, in bytes that are not in holes.
  [[nodiscard]] uint64_t data_bytes() const { return data_bytes_; }

 private:
  explicit SnapshotWriter(NewSnapshotFolder folder) : folder_(std::move(folder)) {}
  Result<void> OpenParent(Snapshot parent, const std::string& path);
  // The memory's files, as they are read back.
  Result<std::vector<Sha256Digest>> DigestAll();

  NewSnapshotFolder folder_;
  UniqueFd memory_fd_{};
  uint64_t memory_bytes_ = 0;
  uint64_t data_bytes_ = 0;
  PageRuns pages_{};
  std::optional<Snapshot> parent_{};
  std::unique_ptr<MemoryImage> parent_memory_{};
  std::string parent_name_{};  // As Manifest::Parent has it.
};

// All of that for a machine that stays paused.
Result<void> WriteSnapshot(const std::string& path, Manifest manifest, const MachineState& state,
                           const GuestMemory& memory, const VerifiedStamps* stamps);

// Writes the snapshot at `from`, whatever it lies over, into a new directory `to` where it lies
// over nothing. All of its memory is compared with its digests.
Result<void> FlattenSnapshot(const std::string& from, const std::string& to,
                             const VerifiedStamps* stamps);

}  // namespace mayfly
