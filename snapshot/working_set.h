#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"

namespace mayfly {

// Consecutive pages that a clone touches at about the same time.
struct WorkingSetRun {
  uint32_t page = 0;  // From the beginning of the memory image.
  uint32_t count = 0;
  bool written = false;

  bool operator==(const WorkingSetRun&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("page", &WorkingSetRun::page);
    visit("count", &WorkingSetRun::count);
    visit("written", &WorkingSetRun::written);
  }
};

// The pages that a clone needs until its first answer, in the order in which it touched them: the
// file `working-set` of a snapshot. It says what to fill first and nothing of what is in it, so a
// wrong one costs time and no more.
struct WorkingSet {
  static constexpr uint64_t kMostBytes = 16 << 20;

  // So many of the runs are filled before the guest runs.
  uint32_t first_stage = 0;
  std::vector<WorkingSetRun> runs;

  bool operator==(const WorkingSet&) const = default;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("first_stage", &WorkingSet::first_stage);
    visit("runs", &WorkingSet::runs);
  }

  // What at least half of `records` have, in the order in which they first do; then what `more` has
  // besides.
  static WorkingSet Common(std::span<const WorkingSet> records, const WorkingSet& more);

  [[nodiscard]] uint64_t pages() const;
  // Adds a page that was touched next; it joins the last run if it follows it.
  void Add(uint32_t page, bool written);

  [[nodiscard]] std::vector<uint8_t> Encode() const;
  // kCorrupt unless the bytes are what Encode() makes, for a memory of `memory_pages`.
  static Result<WorkingSet> Decode(std::span<const uint8_t> bytes, uint64_t memory_pages);
};

}  // namespace mayfly
