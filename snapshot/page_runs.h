#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace mayfly {

// Consecutive pages of a memory image.
struct PageRun {
  uint32_t page = 0;
  uint32_t count = 0;

  bool operator==(const PageRun&) const = default;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("page", &PageRun::page);
    visit("count", &PageRun::count);
  }
};

// The file `memory.pages` of a snapshot over a parent: which pages are its own, in ascending order
// and with others between them. All others are the parent's.
struct PageRuns {
  static constexpr uint64_t kMostBytes = 16 << 20;

  std::vector<PageRun> runs;

  bool operator==(const PageRuns&) const = default;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("runs", &PageRuns::runs);
  }

  // Adds a page behind all others.
  void Add(uint32_t page);
  [[nodiscard]] uint64_t pages() const;

  // kTooLarge if that is more than kMostBytes.
  [[nodiscard]] Result<std::vector<uint8_t>> Encode() const;
  // kCorrupt unless the bytes are what Encode() makes, for a memory of `memory_pages`.
  static Result<PageRuns> Decode(std::span<const uint8_t> bytes, uint64_t memory_pages);
};

}  // namespace mayfly
