#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>

#include "base/result.h"
#include "snapshot/manifest.h"
#include "snapshot/snapshot_writer.h"
#include "snapshot/verified_stamp.h"

namespace mayfly {

// The snapshot of a jailed machine, in its supervisor: the machine writes its memory into a file
// that was opened for it, and sends its state; all the rest is done here. Removed unless it is
// published. One thread.
class JailedSnapshot {
 public:
  // `manifest` as of ManifestOfMachine().
  static Result<std::unique_ptr<JailedSnapshot>> Create(const std::string& directory,
                                                        Manifest manifest, uint64_t memory_bytes);

  // For the machine.
  [[nodiscard]] int memory_fd() const { return memory_.get(); }

  // The state as the machine sent it, which may have been taken over: it is decoded as from a file.
  // Once; whether it succeeds or not, nothing of it is left open.
  Result<void> Publish(std::span<const uint8_t> state);

 private:
  JailedSnapshot(SnapshotWriter writer, UniqueFd memory, Manifest manifest, VerifiedStamps stamps,
                 uint64_t memory_bytes)
      : writer_(std::move(writer)),
        memory_(std::move(memory)),
        manifest_(std::move(manifest)),
        stamps_(std::move(stamps)),
        memory_bytes_(memory_bytes) {}

  std::optional<SnapshotWriter> writer_;
  UniqueFd memory_;
  Manifest manifest_;
  const VerifiedStamps stamps_;
  const uint64_t memory_bytes_;
};

}  // namespace mayfly
