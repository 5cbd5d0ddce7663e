#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"

namespace mayfly {

// The file manifest.json of a snapshot: what the other files are, and what the machine is bound to.
// docs/snapshot-format.md describes it.
struct Manifest {
  // Of a snapshot that stands alone, and of one over a parent.
  static constexpr uint32_t kFormat = 1;
  static constexpr uint32_t kLayerFormat = 2;
  static constexpr uint64_t kMostBytes = uint64_t{256} * 1024;
  static constexpr size_t kMostDisks = 32;
  static constexpr size_t kMostNets = 32;

  struct Disk {
    std::string path;  // Absolute.
    uint64_t bytes = 0;
    bool read_only = false;

    bool operator==(const Disk&) const = default;
  };
  struct Net {
    std::string tap;

    bool operator==(const Net&) const = default;
  };
  // A function that is ready for its first event.
  struct Function {
    std::string description;  // JSON, as in the function's image.
    Sha256Digest image_digest{};

    bool operator==(const Function&) const = default;
  };
  // What the memory lies over: pages that are not this snapshot's own are those of another.
  struct Parent {
    std::string path;       // A name beside this snapshot, or absolute.
    Sha256Digest digest{};  // DigestOfManifest() of the parent's.
    Sha256Digest pages{};   // Of the file memory.pages.

    bool operator==(const Parent&) const = default;
  };

  std::string mayfly_version;
  std::string cpu;  // For people: the processor that it was saved on.
  uint64_t memory_bytes = 0;
  uint32_t vcpus = 0;
  Sha256Digest state_table{};     // StateFile::TableDigest()
  Sha256Digest memory_digests{};  // Of the file memory.digests.
  std::vector<Disk> disks;
  std::vector<Net> nets;
  std::optional<Function> function;
  std::optional<Parent> parent;

  bool operator==(const Manifest&) const = default;

  // The file's text, with a digest of itself in it; equal manifests give equal bytes.
  [[nodiscard]] std::string Serialize() const;
  // kCorrupt unless `text` is to the byte what Serialize() makes; kUnsupported for another format.
  // `name` is for errors.
  static Result<Manifest> Parse(std::string_view text, const std::string& name);
};

// The digest of a manifest's text, by which everything else of the snapshot is pinned.
Sha256Digest DigestOfManifest(std::string_view text);

}  // namespace mayfly
