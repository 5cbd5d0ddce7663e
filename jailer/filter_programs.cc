#include "jailer/filter_programs.h"

#include <fmt/format.h>

#include <iterator>
#include <string_view>

namespace mayfly {
namespace {

#include "jailer/filter_programs.inc"

}  // namespace

std::span<const sock_filter> FilterProgram(ThreadKind kind) {
  switch (kind) {
    case ThreadKind::kVcpu:
      return k_vcpu;
    case ThreadKind::kIo:
      return k_io;
    case ThreadKind::kPager:
      return k_pager;
    case ThreadKind::kSupervisor:
      return k_supervisor;
  }
  return {};
}

std::string SystemCallName(int number) {
  const bool known = number >= 0 && number < std::ssize(kNames) && !kNames[number].empty();
  return known ? fmt::format("{} ({})", kNames[number], number) : fmt::format("{}", number);
}

}  // namespace mayfly
