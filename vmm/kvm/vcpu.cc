#include "vmm/kvm/vcpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <memory>

#include "base/check.h"

namespace mayfly {
namespace {

template <class T>
Result<void> Set(int fd, unsigned long request, const T& value, std::string_view name) {
  if (::ioctl(fd, request, &value) != 0) return FailErrno(name);
  return {};
}

template <class T>
Result<T> Get(int fd, unsigned long request, std::string_view name) {
  T value{};
  if (::ioctl(fd, request, &value) != 0) return FailErrno(name);
  return value;
}

}  // namespace

Result<bool> Vcpu::Run() const {
  if (::ioctl(fd_.get(), KVM_RUN, 0) == 0) return true;
  if (errno == EINTR || errno == EAGAIN) return false;
  return FailErrno(fmt::format("KVM_RUN on vCPU {}", id_));
}

void Vcpu::RequestExit() const {
  std::atomic_ref<uint8_t>(run().immediate_exit).store(1, std::memory_order_release);
}

void Vcpu::ClearExitRequest() const {
  std::atomic_ref<uint8_t>(run().immediate_exit).store(0, std::memory_order_release);
}

Result<void> Vcpu::SetCpuid(const abi::CpuidList& cpuid) const {
  return Set(fd_.get(), abi::kSetCpuid2, cpuid, "KVM_SET_CPUID2");
}

Result<kvm_regs> Vcpu::GetRegisters() const {
  return Get<kvm_regs>(fd_.get(), KVM_GET_REGS, "KVM_GET_REGS");
}

Result<void> Vcpu::SetRegisters(const kvm_regs& registers) const {
  return Set(fd_.get(), KVM_SET_REGS, registers, "KVM_SET_REGS");
}

Result<kvm_sregs> Vcpu::GetSystemRegisters() const {
  return Get<kvm_sregs>(fd_.get(), KVM_GET_SREGS, "KVM_GET_SREGS");
}

Result<void> Vcpu::SetSystemRegisters(const kvm_sregs& registers) const {
  return Set(fd_.get(), KVM_SET_SREGS, registers, "KVM_SET_SREGS");
}

Result<void> Vcpu::SetFpu(const kvm_fpu& fpu) const {
  return Set(fd_.get(), KVM_SET_FPU, fpu, "KVM_SET_FPU");
}

Result<void> Vcpu::SetMsrs(std::span<const kvm_msr_entry> msrs) const {
  auto list = std::make_unique<abi::MsrEntries>();
  CHECK(msrs.size() <= std::size(list->entries));
  list->count = static_cast<uint32_t>(msrs.size());
  std::ranges::copy(msrs, list->entries);
  // The kernel stops at the first MSR it refuses, and returns how many it took.
  const int taken = ::ioctl(fd_.get(), abi::kSetMsrs, list.get());
  if (taken < 0) return FailErrno("KVM_SET_MSRS");
  if (static_cast<size_t>(taken) != msrs.size()) {
    return Fail(ErrorCode::kUnsupported, fmt::format("KVM_SET_MSRS: this host refuses MSR {:#x}",
                                                     msrs[static_cast<size_t>(taken)].index));
  }
  return {};
}

Result<void> Vcpu::SetMpState(uint32_t state) const {
  return Set(fd_.get(), KVM_SET_MP_STATE, kvm_mp_state{state}, "KVM_SET_MP_STATE");
}

Result<kvm_lapic_state> Vcpu::GetLapic() const {
  return Get<kvm_lapic_state>(fd_.get(), KVM_GET_LAPIC, "KVM_GET_LAPIC");
}

Result<void> Vcpu::SetLapic(const kvm_lapic_state& lapic) const {
  return Set(fd_.get(), KVM_SET_LAPIC, lapic, "KVM_SET_LAPIC");
}

}  // namespace mayfly
