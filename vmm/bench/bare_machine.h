#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <memory>
#include <span>

#include "base/mapping.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/kvm/kvm_abi.h"
#include "vmm/kvm/vcpu_state.h"

namespace mayfly {

// A vCPU's state in the form in which KVM takes it: prepared once, outside of what is measured.
struct PreparedVcpu {
  static std::unique_ptr<PreparedVcpu> Of(const VcpuState& state);

  VcpuState state;
  abi::CpuidList cpuid{};
  abi::MsrEntries msrs{};
};

// A machine by a bare sequence of system calls: what mayfly is measured beside. One thread; it has
// no devices, and leaves the guest for its doorbell alone.
class BareMachine {
 public:
  // Over `memory`, which outlives it, where `vcpu` stands. `kvm` is /dev/kvm.
  static Result<BareMachine> Create(int kvm, const PreparedVcpu& vcpu, std::span<uint8_t> memory);
  // The same with nothing of the vCPU's but its CPUID, and the rest of it.
  static Result<BareMachine> CreateShell(int kvm, const PreparedVcpu& vcpu,
                                         std::span<uint8_t> memory);
  Result<void> SetState(const PreparedVcpu& vcpu);

  // Runs until the guest writes `value` to its doorbell.
  Result<void> RunTo(uint32_t value);

 private:
  BareMachine(UniqueFd vm, UniqueFd vcpu, Mapping run)
      : vm_(std::move(vm)), vcpu_(std::move(vcpu)), run_(std::move(run)) {}

  UniqueFd vm_;
  UniqueFd vcpu_;
  Mapping run_;
};

}  // namespace mayfly
