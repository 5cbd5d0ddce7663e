#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/kvm/vcpu.h"

namespace mayfly {

// Everything that one vCPU is, in KVM's own structures: a value.
struct VcpuState {
  uint32_t id = 0;
  uint32_t tsc_khz = 0;
  uint32_t mp_state = 0;
  std::vector<kvm_cpuid_entry2> cpuid;
  kvm_regs registers{};
  kvm_sregs system{};
  abi::Xsave xsave{};
  kvm_xcrs xcrs{};
  kvm_debugregs debug{};
  kvm_lapic_state lapic{};
  std::vector<kvm_msr_entry> msrs;
  kvm_vcpu_events events{};

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("id", &VcpuState::id);
    visit("tsc_khz", &VcpuState::tsc_khz);
    visit("mp_state", &VcpuState::mp_state);
    visit("cpuid", &VcpuState::cpuid);
    visit("registers", &VcpuState::registers);
    visit("system", &VcpuState::system);
    visit("xsave", &VcpuState::xsave);
    visit("xcrs", &VcpuState::xcrs);
    visit("debug", &VcpuState::debug);
    visit("lapic", &VcpuState::lapic);
    visit("msrs", &VcpuState::msrs);
    visit("events", &VcpuState::events);
  }
};

// Reads the whole state of a vCPU that is not running. `msr_indices` are Kvm::MsrIndices().
Result<VcpuState> SaveVcpu(const Vcpu& vcpu, std::span<const uint32_t> msr_indices);

// Makes a fresh vCPU what `state` says. kCorrupt if the state is none that SaveVcpu() returns;
// kUnsupported, naming both sides, if this host's processor is not the one that it was saved on.
Result<void> RestoreVcpu(const Vcpu& vcpu, const VcpuState& state);

// The same in three steps. The first two may be taken long before the guest's memory is there and
// its life begins: what processor it is, and the registers that only its own instructions change.
Result<void> PrepareVcpu(const Vcpu& vcpu, const VcpuState& state);
Result<void> RestoreRegisters(const Vcpu& vcpu, const VcpuState& state);
// What time and devices change, right before it runs: clocks, timers, the local APIC, what is
// pending.
Result<void> RestoreEvents(const Vcpu& vcpu, const VcpuState& state);

// False for a processor that reads memory when its registers are set: the one of 32 bits with PAE,
// whose page directory pointers are registers of their own (Intel SDM volume 3, 4.4.1).
bool RegistersStandAlone(const VcpuState& state);
// Whether both are the same to RestoreRegisters().
bool SameRegisters(const VcpuState& a, const VcpuState& b);

}  // namespace mayfly
