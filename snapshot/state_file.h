#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "snapshot/machine_state.h"

namespace mayfly {

// The file `state` of a snapshot: a MachineState in sections, each with tag, version, length and
// digest. docs/snapshot-format.md describes every byte.
struct StateFile {
  // An upper bound that no real state comes near: 32 vCPUs of 20 KiB, and devices.
  static constexpr uint64_t kMostBytes = 4 << 20;

  // The file's bytes.
  static std::vector<uint8_t> Encode(const MachineState& state);

  // The digest of the section table, which holds those of the sections: what the manifest pins.
  // kCorrupt if `bytes` have no whole table.
  static Result<Sha256Digest> TableDigest(std::span<const uint8_t> bytes);

  // kCorrupt, naming section and field, unless every byte is as Encode() has it; kUnsupported for
  // another version. What values mean is checked where they are used.
  static Result<MachineState> Decode(std::span<const uint8_t> bytes);
};

}  // namespace mayfly
