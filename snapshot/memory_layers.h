#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/page_runs.h"

namespace mayfly {

// One file of a memory image, as large as the guest's memory.
struct MemoryLayer {
  UniqueFd fd;
  PageRuns pages{};  // Which are this file's own; of the lowest layer, all.
};

// The guest's memory as one file or several show it, one over the other: a page is that of the
// uppermost layer that has it. Untrusted, as its files are. Immutable; any thread.
class MemoryLayers {
 public:
  // A piece of the memory that comes from one file, at the same offset there.
  struct Extent {
    uint64_t start = 0;
    uint64_t end = 0;
    int fd = -1;  // Borrowed from the layers.
  };

  // The uppermost layer first; at least one. Their runs lie in `bytes`, and each file is of that
  // size.
  MemoryLayers(std::vector<MemoryLayer> layers, uint64_t bytes);

  [[nodiscard]] uint64_t bytes() const { return bytes_; }
  [[nodiscard]] size_t depth() const { return layers_.size(); }
  // All files, the uppermost first.
  [[nodiscard]] std::vector<int> fds() const;
  [[nodiscard]] int lowest_fd() const { return layers_.back().fd.get(); }
  // All of the memory, in order, each extent as long as it can be.
  [[nodiscard]] std::span<const Extent> extents() const { return extents_; }
  // What is not in a hole of its file, in order.
  [[nodiscard]] Result<std::vector<Extent>> Data() const;

  // kCorrupt if a file has become shorter.
  [[nodiscard]] Result<void> Read(uint64_t offset, std::span<uint8_t> out) const;

 private:
  std::vector<MemoryLayer> layers_;
  uint64_t bytes_;
  std::vector<Extent> extents_;
};

}  // namespace mayfly
