#include "vmm/boot/cpuid.h"

#include <bit>
#include <span>

namespace mayfly {
namespace {

// Leaf 1, ECX (Intel SDM volume 2, CPUID).
constexpr uint32_t kMonitor = 1U << 3;
constexpr uint32_t kVmx = 1U << 5;
constexpr uint32_t kTscDeadline = 1U << 24;
constexpr uint32_t kHypervisor = 1U << 31;
// Leaf 1, EDX.
constexpr uint32_t kHyperThreading = 1U << 28;
// Leaf 0x80000001, ECX (AMD APM volume 3, appendix E).
constexpr uint32_t kSvm = 1U << 2;

constexpr uint32_t kTopologyLevelThread = 1 << 8;
constexpr uint32_t kTopologyLevelCore = 2 << 8;

void SetTopology(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
  const uint32_t level = entry.index;
  entry.ecx = level;
  entry.edx = options.vcpu_id;
  entry.eax = 0;
  entry.ebx = 0;
  if (level == 0) {
    entry.ebx = 1;
    entry.ecx |= kTopologyLevelThread;
  } else if (level == 1) {
    entry.eax = static_cast<uint32_t>(std::bit_width(options.vcpu_count - 1));
    entry.ebx = options.vcpu_count;
    entry.ecx |= kTopologyLevelCore;
  }
}

void SetFeatures(kvm_cpuid_entry2& entry, const CpuidOptions& options) {
  entry.ecx &= ~(kMonitor | kVmx);
  entry.ecx |= kHypervisor;
  if (options.tsc_deadline_timer) entry.ecx |= kTscDeadline;
  entry.ebx = (entry.ebx & 0x0000ffff) | options.vcpu_count << 16 | options.vcpu_id << 24;
  if (options.vcpu_count > 1) {
    entry.edx |= kHyperThreading;
  } else {
    entry.edx &= ~kHyperThreading;
  }
}

}  // namespace

void NormaliseCpuid(abi::CpuidList& cpuid, const CpuidOptions& options) {
  for (kvm_cpuid_entry2& entry : std::span(cpuid.entries, cpuid.count)) {
    switch (entry.function) {
      case 0x1:
        SetFeatures(entry, options);
        break;
      case 0x4: {
        // Bits 31:26, cores in the package; bits 25:14, threads that share the cache.
        const uint32_t cores = std::bit_ceil(options.vcpu_count) - 1;
        entry.eax = (entry.eax & 0x00003fff) | cores << 26;
        break;
      }
      case 0xa:
        entry.eax = entry.ebx = entry.ecx = entry.edx = 0;  // No performance counters.
        break;
      case 0xb:
      case 0x1f:
        SetTopology(entry, options);
        break;
      case 0x80000001:
        entry.ecx &= ~kSvm;
        break;
      case 0x80000008:
        // Bits 15:12, width of the core id; bits 7:0, cores less one.
        entry.ecx = static_cast<uint32_t>(std::bit_width(options.vcpu_count - 1)) << 12 |
                    (options.vcpu_count - 1);
        break;
      case 0x8000000a:
        entry.eax = entry.ebx = entry.ecx = entry.edx = 0;  // SVM features.
        break;
      case 0x8000001e:
        entry.eax = options.vcpu_id;
        entry.ebx = options.vcpu_id;  // Core id, one thread a core.
        entry.ecx = 0;                // One node.
        break;
      default:
        break;
    }
  }
}

}  // namespace mayfly
