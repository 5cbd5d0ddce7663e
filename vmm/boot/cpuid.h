#pragma once

#include <cstdint>

#include "vmm/kvm/kvm_abi.h"

namespace mayfly {

struct CpuidOptions {
  uint32_t vcpu_id;
  uint32_t vcpu_count;
  bool tsc_deadline_timer;  // KVM_CAP_TSC_DEADLINE_TIMER
};

// Turns what KVM supports (KVM_GET_SUPPORTED_CPUID) into what one vCPU shows its guest: its own
// APIC id, one socket of single-threaded cores, and no virtualisation extensions, since a nested
// hypervisor is more attack surface of the host's kernel than a function needs.
void NormaliseCpuid(abi::CpuidList& cpuid, const CpuidOptions& options);

}  // namespace mayfly
