#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// A range of a process's memory whose contents are those of a memory image from `offset` on.
struct PagedRegion {
  uint64_t host;  // An address in that process, which need not be this one.
  uint64_t size;
  uint64_t offset;

  bool operator==(const PagedRegion&) const = default;
};

// Makes memory of this process unreadable for good, so that nobody sees what may be there instead
// of the image's contents.
Result<void> ForbidMemory(uint64_t host, uint64_t size);

// The regions of one machine: where in the image a page of theirs comes from, and back. Immutable.
class PagedRegions {
 public:
  explicit PagedRegions(std::vector<PagedRegion> regions) : regions_(std::move(regions)) {}
  // One behind the other, as a MemoryImage has them.
  static PagedRegions Of(const GuestMemory& memory);

  [[nodiscard]] std::span<const PagedRegion> regions() const { return regions_; }
  // The place in the image of `host`; nothing if no region has it.
  [[nodiscard]] std::optional<uint64_t> OffsetOf(uint64_t host) const;
  // The region with the image's byte `offset`; null if there is none.
  [[nodiscard]] const PagedRegion* At(uint64_t offset) const;

 private:
  std::vector<PagedRegion> regions_;
};

}  // namespace mayfly
