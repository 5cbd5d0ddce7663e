#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace mayfly {

// Whose system calls a filter is for. Every thread of a jailed VMM is one of these.
enum class ThreadKind : uint8_t {
  kVcpu,        // KVM_RUN, and what port and memory accesses of the guest lead to.
  kIo,          // The event loop: queues, backends, timers; and the threads of disks.
  kPager,       // Answers page faults.
  kSupervisor,  // What is left after hand-over: drives the function, waits for signals.
};

inline constexpr std::array kThreadKinds{ThreadKind::kVcpu, ThreadKind::kIo, ThreadKind::kPager,
                                         ThreadKind::kSupervisor};

constexpr std::string_view NameOf(ThreadKind kind) {
  switch (kind) {
    case ThreadKind::kVcpu:
      return "vcpu";
    case ThreadKind::kIo:
      return "io";
    case ThreadKind::kPager:
      return "pager";
    case ThreadKind::kSupervisor:
      return "supervisor";
  }
  return "";
}

}  // namespace mayfly
