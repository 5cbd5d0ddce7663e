#include "vmm/memory/page_scan.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = 4096;
constexpr char kPagemap[] = "/proc/self/pagemap";

// Linux, Documentation/admin-guide/mm/pagemap.rst and include/uapi/linux/fs.h from 6.7 on: Debian
// 12's headers are older.
struct ScanRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};
struct ScanArguments {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t regions;
  uint64_t region_count;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(ScanArguments) == 96);
constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr uint64_t kFile = 1 << 2;
constexpr uint64_t kPresent = 1 << 3;
constexpr uint64_t kSwapped = 1 << 4;
constexpr uint64_t kZeroPage = 1 << 5;

// A page's entry in /proc/self/pagemap.
constexpr uint64_t kEntryFile = 1ULL << 61;
constexpr uint64_t kEntrySwapped = 1ULL << 62;
constexpr uint64_t kEntryPresent = 1ULL << 63;

void Append(std::vector<PageRange>& ranges, uint64_t start, uint64_t end) {
  if (!ranges.empty() && ranges.back().end == start) {
    ranges.back().end = end;
  } else {
    ranges.push_back({start, end});
  }
}

bool IsOfKind(uint64_t entry, PageKind kind) {
  if ((entry & (kEntryPresent | kEntrySwapped)) == 0) return false;
  return kind == PageKind::kPopulated || (entry & kEntryFile) == 0;
}

}  // namespace

Result<std::vector<PageRange>> ScanPages(const uint8_t* start, uint64_t size, PageKind kind) {
  const UniqueFd pagemap = TRY(OpenFile(kPagemap, O_RDONLY));
  const auto base = reinterpret_cast<uint64_t>(start);
  std::array<ScanRegion, 512> found;
  ScanArguments arguments{};
  arguments.size = sizeof(arguments);
  arguments.end = base + size;
  arguments.regions = reinterpret_cast<uint64_t>(found.data());
  arguments.region_count = found.size();
  arguments.category_inverted = kZeroPage | (kind == PageKind::kPrivate ? kFile : 0);
  arguments.category_mask = arguments.category_inverted;
  arguments.category_anyof_mask = kPresent | kSwapped;
  arguments.return_mask = kPresent;
  std::vector<PageRange> ranges;
  for (uint64_t at = base; at < base + size; at = arguments.walk_end) {
    arguments.start = at;
    const int count = ::ioctl(pagemap.get(), kPagemapScan, &arguments);
    if (count < 0 && (errno == ENOTTY || errno == EINVAL)) return ReadPagemap(start, size, kind);
    if (count < 0 && errno == EINTR) {
      arguments.walk_end = at;
      continue;
    }
    if (count < 0) return FailErrno("pagemap: PAGEMAP_SCAN");
    for (const ScanRegion& region : std::span(found).first(static_cast<size_t>(count))) {
      Append(ranges, region.start - base, region.end - base);
    }
  }
  return ranges;
}

Result<std::vector<PageRange>> ReadPagemap(const uint8_t* start, uint64_t size, PageKind kind) {
  constexpr size_t kBatch = 8192;
  const UniqueFd pagemap = TRY(OpenFile(kPagemap, O_RDONLY));
  const uint64_t first = reinterpret_cast<uint64_t>(start) / kPage;
  const uint64_t pages = size / kPage;
  std::vector<PageRange> ranges;
  std::vector<uint64_t> entries(std::min<uint64_t>(kBatch, pages));
  for (uint64_t page = 0; page < pages; page += entries.size()) {
    entries.resize(std::min<uint64_t>(kBatch, pages - page));
    const std::span<uint8_t> bytes(reinterpret_cast<uint8_t*>(entries.data()),
                                   entries.size() * sizeof(uint64_t));
    TRY(ReadExactAt(pagemap.get(), bytes, (first + page) * sizeof(uint64_t), "pagemap"));
    for (size_t i = 0; i < entries.size(); ++i) {
      if (!IsOfKind(entries[i], kind)) continue;
      Append(ranges, (page + i) * kPage, (page + i + 1) * kPage);
    }
  }
  return ranges;
}

}  // namespace mayfly
