#include "snapshot/paged_regions.h"

#include <sys/mman.h>

#include "base/pointer.h"

namespace mayfly {

Result<void> ForbidMemory(uint64_t host, uint64_t size) {
  // Mapped instead of protected, because that is what a jail's filter allows a pager.
  if (::mmap(PointerOf(host), size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
      MAP_FAILED) {
    return FailErrno("forbid memory");
  }
  return {};
}

PagedRegions PagedRegions::Of(const GuestMemory& memory) {
  std::vector<PagedRegion> regions;
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    regions.push_back({reinterpret_cast<uint64_t>(region.host), region.size, offset});
    offset += region.size;
  }
  return PagedRegions(std::move(regions));
}

std::optional<uint64_t> PagedRegions::OffsetOf(uint64_t host) const {
  for (const PagedRegion& region : regions_) {
    if (host >= region.host && host - region.host < region.size) {
      return region.offset + (host - region.host);
    }
  }
  return std::nullopt;
}

const PagedRegion* PagedRegions::At(uint64_t offset) const {
  for (const PagedRegion& region : regions_) {
    if (offset >= region.offset && offset - region.offset < region.size) return &region;
  }
  return nullptr;
}

}  // namespace mayfly
