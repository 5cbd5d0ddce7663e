#include "vmm/cli/jailed_snapshot.h"

#include <fmt/format.h>

#include "snapshot/state_file.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/machine/machine_manifest.h"

namespace mayfly {

Result<std::unique_ptr<JailedSnapshot>> JailedSnapshot::Create(const std::string& directory,
                                                               Manifest manifest,
                                                               uint64_t memory_bytes) {
  VerifiedStamps stamps = TRY(VerifiedStamps::Open(StampDirectory()));
  SnapshotWriter writer = TRY(SnapshotWriter::Create(directory));
  UniqueFd memory = TRY(writer.OpenMemory(memory_bytes));
  return std::unique_ptr<JailedSnapshot>(new JailedSnapshot(
      std::move(writer), std::move(memory), std::move(manifest), std::move(stamps), memory_bytes));
}

Result<void> JailedSnapshot::Publish(std::span<const uint8_t> bytes) {
  if (!writer_) return Fail(ErrorCode::kInvalidArgument, "a jailed machine is saved once");
  SnapshotWriter writer = *std::exchange(writer_, std::nullopt);
  memory_.Reset();
  if (bytes.size() > StateFile::kMostBytes) {
    return Fail(ErrorCode::kTooLarge, fmt::format("state: {} bytes", bytes.size()));
  }
  const MachineState state = TRY(WithContext(StateFile::Decode(bytes), "state"));
  if (state.memory_bytes != memory_bytes_) {
    return Fail(ErrorCode::kCorrupt, fmt::format("state: memory_bytes: {}, the machine has {}",
                                                 state.memory_bytes, memory_bytes_));
  }
  SetDiskSizes(state, &manifest_);
  return std::move(writer).Publish(std::move(manifest_), state, &stamps_);
}

}  // namespace mayfly
