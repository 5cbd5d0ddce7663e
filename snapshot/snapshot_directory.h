#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/result.h"
#include "snapshot/machine_state.h"
#include "snapshot/manifest.h"
#include "snapshot/memory_image.h"
#include "snapshot/verified_stamp.h"
#include "snapshot/working_set.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// A snapshot on disk:
//
//   DIR/manifest.json    what the others are, and what the machine is bound to
//   DIR/state            StateFile
//   DIR/memory           the guest's memory, with holes
//   DIR/memory.digests   a digest for each of its chunks
//   DIR/working-set      what to fill first; may be missing, and changes
struct SnapshotFiles {
  static constexpr char kManifest[] = "manifest.json";
  static constexpr char kState[] = "state";
  static constexpr char kMemory[] = "memory";
  static constexpr char kDigests[] = "memory.digests";
  static constexpr char kWorkingSet[] = "working-set";
};

// Writes a snapshot into a new directory `path`, whole or not at all: into a directory beside it,
// synced, then renamed. The machine is paused meanwhile. `manifest` says what the machine is bound
// to; its other fields are filled in. kInvalidArgument if `path` exists. `stamps` may be null; else
// the memory file counts as checked.
Result<void> WriteSnapshot(const std::string& path, Manifest manifest, const MachineState& state,
                           const GuestMemory& memory, const VerifiedStamps* stamps);

// Gives the snapshot at `path` another working set, at once or not at all.
Result<void> WriteWorkingSet(const std::string& path, const WorkingSet& set);

// A snapshot that was opened and checked in all but the contents of its memory.
class Snapshot {
 public:
  // The files are untrusted: errors name the file, and are kCorrupt, kNotFound, or kUnsupported for
  // another version.
  static Result<Snapshot> Open(const std::string& path);

  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  [[nodiscard]] const Sha256Digest& manifest_digest() const { return manifest_digest_; }
  [[nodiscard]] MachineState TakeState() { return std::move(state_); }
  [[nodiscard]] std::unique_ptr<MemoryImage> TakeMemory() { return std::move(memory_); }
  // The working set beside the snapshot, if there is one. kCorrupt if it is damaged.
  [[nodiscard]] Result<std::optional<WorkingSet>> ReadWorkingSet() const;

 private:
  Snapshot(std::string path, Manifest manifest, const Sha256Digest& manifest_digest, MachineState state,
           std::unique_ptr<MemoryImage> memory)
      : path_(std::move(path)),
        manifest_(std::move(manifest)),
        manifest_digest_(manifest_digest),
        state_(std::move(state)),
        memory_(std::move(memory)) {}

  std::string path_;
  Manifest manifest_;
  Sha256Digest manifest_digest_;
  MachineState state_;
  std::unique_ptr<MemoryImage> memory_;
};

}  // namespace mayfly
