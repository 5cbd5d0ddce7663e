#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mapping.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/kvm/kvm_abi.h"

namespace mayfly {

// One KVM virtual CPU; a method is an ioctl of the same name. All calls come from one thread at a
// time, but for RequestExit().
class Vcpu {
 public:
  static constexpr uint32_t kMsrTsc = 0x10;  // IA32_TIME_STAMP_COUNTER

  [[nodiscard]] uint32_t id() const { return id_; }
  // The page that the kernel shares with us; valid after Run().
  [[nodiscard]] kvm_run& run() const { return *reinterpret_cast<kvm_run*>(run_.data()); }

  // KVM_RUN. False if it was interrupted (EINTR, EAGAIN) and there is no exit to handle.
  [[nodiscard]] Result<bool> Run() const;
  // Makes the current Run() return if a signal arrives, and the next one at once. Any thread.
  void RequestExit() const;
  void ClearExitRequest() const;

  [[nodiscard]] Result<std::unique_ptr<abi::CpuidList>> GetCpuid() const;
  [[nodiscard]] Result<void> SetCpuid(const abi::CpuidList& cpuid) const;
  [[nodiscard]] Result<kvm_regs> GetRegisters() const;
  [[nodiscard]] Result<void> SetRegisters(const kvm_regs& registers) const;
  [[nodiscard]] Result<kvm_sregs> GetSystemRegisters() const;
  [[nodiscard]] Result<void> SetSystemRegisters(const kvm_sregs& registers) const;
  [[nodiscard]] Result<void> SetFpu(const kvm_fpu& fpu) const;
  // The values of those of `indices` that this vCPU has.
  [[nodiscard]] Result<std::vector<kvm_msr_entry>> GetMsrs(std::span<const uint32_t> indices) const;
  [[nodiscard]] Result<void> SetMsrs(std::span<const kvm_msr_entry> msrs) const;
  // One of KVM_MP_STATE_*.
  [[nodiscard]] Result<uint32_t> GetMpState() const;
  [[nodiscard]] Result<void> SetMpState(uint32_t state) const;
  [[nodiscard]] Result<abi::Xsave> GetXsave() const;
  [[nodiscard]] Result<void> SetXsave(const abi::Xsave& xsave) const;
  [[nodiscard]] Result<kvm_xcrs> GetXcrs() const;
  [[nodiscard]] Result<void> SetXcrs(const kvm_xcrs& xcrs) const;
  [[nodiscard]] Result<kvm_debugregs> GetDebugRegisters() const;
  [[nodiscard]] Result<void> SetDebugRegisters(const kvm_debugregs& registers) const;
  [[nodiscard]] Result<kvm_vcpu_events> GetEvents() const;
  [[nodiscard]] Result<void> SetEvents(const kvm_vcpu_events& events) const;
  // The rate of its time stamp counter.
  [[nodiscard]] uint32_t tsc_khz() const { return tsc_khz_; }
  // What the guest would read now with rdtsc.
  [[nodiscard]] Result<uint64_t> GetTsc() const;
  // KVM_KVMCLOCK_CTRL: tells the guest's soft-lockup watchdog that it was stopped. Nothing if the
  // guest does not use kvmclock.
  [[nodiscard]] Result<void> AnnouncePause() const;
  [[nodiscard]] Result<kvm_lapic_state> GetLapic() const;
  [[nodiscard]] Result<void> SetLapic(const kvm_lapic_state& lapic) const;

 private:
  friend class Vm;
  Vcpu(uint32_t id, uint32_t tsc_khz, UniqueFd fd, Mapping run)
      : id_(id), tsc_khz_(tsc_khz), fd_(std::move(fd)), run_(std::move(run)) {}

  uint32_t id_;
  uint32_t tsc_khz_;
  UniqueFd fd_;
  Mapping run_;
};

}  // namespace mayfly
