#pragma once

#include <sys/syscall.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>

#include "jailer/thread_kind.h"

namespace mayfly {

// A condition on one argument: the bits of `mask` are those of `value`.
struct ArgumentCheck {
  unsigned argument;
  uint64_t mask;
  uint64_t value;
};

// A system call that some kinds of thread may make, under all of the conditions. A call that has
// several rows is allowed by any one of them.
struct FilterRule {
  static constexpr size_t kMostChecks = 2;

  static constexpr unsigned Bit(ThreadKind kind) { return 1U << static_cast<unsigned>(kind); }
  [[nodiscard]] constexpr bool AppliesTo(ThreadKind kind) const { return (kinds & Bit(kind)) != 0; }
  [[nodiscard]] std::span<const ArgumentCheck> used_checks() const {
    return std::span(checks).first(check_count);
  }

  unsigned kinds;
  int number;
  std::string_view name;
  std::string_view why;
  size_t check_count = 0;
  std::array<ArgumentCheck, kMostChecks> checks{};
};

// Everything that a jailed VMM may ask of the kernel once it is locked down. What is not here ends
// the process.
std::span<const FilterRule> FilterTable();

// The figures that continuous integration holds: distinct system calls of a kind, of all kinds,
// rows summed over the kinds, and system calls that take a path.
struct FilterCounts {
  size_t vcpu = 0;
  size_t io = 0;
  size_t pager = 0;
  size_t all = 0;
  size_t rules = 0;
  size_t path = 0;
};
FilterCounts CountFilters();

}  // namespace mayfly
