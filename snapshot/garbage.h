#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

struct GarbageOptions {
  std::string directory;  // That snapshots stand in.
  // The names of those that are needed: with what they lie over they stay, and all others go. If
  // nothing: only what killed writers left goes.
  std::optional<std::vector<std::string>> keep;
  bool dry_run = false;  // Says what would go, and removes nothing.
};

// Something that CollectGarbage() looked at, and did not simply leave alone.
struct Garbage {
  enum class Fate { kRemoved, kInUse, kDamaged };

  std::string name;  // In the directory.
  std::string what;  // For people.
  Fate fate = Fate::kRemoved;

  bool operator==(const Garbage&) const = default;
};

// Removes what nobody needs from a directory of snapshots. What somebody writes, or has open,
// stays, and so does what cannot be read; whoever interrupts it leaves snapshots that are whole or
// gone. Only snapshots in the directory are seen: one over which others elsewhere lie has to be
// named. kNotFound, before anything is removed, if one that is needed is not there.
Result<std::vector<Garbage>> CollectGarbage(const GarbageOptions& options);

}  // namespace mayfly
