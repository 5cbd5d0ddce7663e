#include "snapshot/paged_regions.h"

namespace mayfly {

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
