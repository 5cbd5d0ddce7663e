#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "snapshot/manifest.h"

namespace mayfly {

// What is known of a snapshot.
struct SnapshotFacts {
  Manifest manifest;
  uint64_t data_bytes;  // Of the memory, what is not in holes.
  uint64_t working_set_pages;
  uint64_t parents;
};

// Errors are those of Snapshot::Open().
Result<SnapshotFacts> FactsOf(const std::string& directory);

// docs/command-line.md describes the fields.
std::string ToJson(const SnapshotFacts& facts);

// Compares all of a snapshot that a restore may read, also of what it lies over, with its digests:
// kCorrupt, naming the chunk, if it differs.
Result<void> VerifySnapshot(const std::string& directory);

}  // namespace mayfly
