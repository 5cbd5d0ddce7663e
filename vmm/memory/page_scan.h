#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"

namespace mayfly {

// [start, end) in bytes from the beginning of a region; whole pages.
struct PageRange {
  uint64_t start;
  uint64_t end;
  bool operator==(const PageRange&) const = default;
};

enum class PageKind {
  kPopulated,  // In memory, or swapped out.
  kPrivate,    // The same, and not a file's.
};

// The pages of [start, start + size) of this process that are of a kind, in order. Pages that the
// kernel knows to be zero can be left out.
Result<std::vector<PageRange>> ScanPages(const uint8_t* start, uint64_t size, PageKind kind);

// The same without PAGEMAP_SCAN, as kernels before 6.7 need it.
Result<std::vector<PageRange>> ReadPagemap(const uint8_t* start, uint64_t size, PageKind kind);

}  // namespace mayfly
