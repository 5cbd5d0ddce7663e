#include "vmm/kvm/vcpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
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

Result<std::unique_ptr<abi::CpuidList>> Vcpu::GetCpuid() const {
  auto list = std::make_unique<abi::CpuidList>();
  list->count = abi::CpuidList::kSize;
  if (::ioctl(fd_.get(), abi::kGetCpuid2, list.get()) != 0) return FailErrno("KVM_GET_CPUID2");
  return list;
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

Result<std::vector<kvm_msr_entry>> Vcpu::GetMsrs(std::span<const uint32_t> indices) const {
  std::vector<kvm_msr_entry> values;
  auto list = std::make_unique<abi::MsrEntries>();
  while (!indices.empty()) {
    const size_t asked = std::min<size_t>(indices.size(), abi::MsrEntries::kSize);
    list->count = static_cast<uint32_t>(asked);
    for (size_t i = 0; i < asked; ++i) list->entries[i] = {indices[i], 0, 0};
    // The kernel stops at the first MSR that this vCPU lacks.
    const int given = ::ioctl(fd_.get(), abi::kGetMsrs, list.get());
    if (given < 0) return FailErrno("KVM_GET_MSRS");
    const auto count = static_cast<size_t>(given);
    values.insert(values.end(), list->entries, list->entries + count);
    indices = indices.subspan(std::min(indices.size(), count < asked ? count + 1 : count));
  }
  return values;
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

Result<uint32_t> Vcpu::GetMpState() const {
  return TRY(Get<kvm_mp_state>(fd_.get(), KVM_GET_MP_STATE, "KVM_GET_MP_STATE")).mp_state;
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

Result<abi::Xsave> Vcpu::GetXsave() const {
  return Get<abi::Xsave>(fd_.get(), abi::kGetXsave, "KVM_GET_XSAVE");
}

Result<void> Vcpu::SetXsave(const abi::Xsave& xsave) const {
  return Set(fd_.get(), abi::kSetXsave, xsave, "KVM_SET_XSAVE");
}

Result<kvm_xcrs> Vcpu::GetXcrs() const {
  return Get<kvm_xcrs>(fd_.get(), KVM_GET_XCRS, "KVM_GET_XCRS");
}

Result<void> Vcpu::SetXcrs(const kvm_xcrs& xcrs) const {
  return Set(fd_.get(), KVM_SET_XCRS, xcrs, "KVM_SET_XCRS");
}

Result<kvm_debugregs> Vcpu::GetDebugRegisters() const {
  return Get<kvm_debugregs>(fd_.get(), KVM_GET_DEBUGREGS, "KVM_GET_DEBUGREGS");
}

Result<void> Vcpu::SetDebugRegisters(const kvm_debugregs& registers) const {
  return Set(fd_.get(), KVM_SET_DEBUGREGS, registers, "KVM_SET_DEBUGREGS");
}

Result<kvm_vcpu_events> Vcpu::GetEvents() const {
  return Get<kvm_vcpu_events>(fd_.get(), KVM_GET_VCPU_EVENTS, "KVM_GET_VCPU_EVENTS");
}

Result<void> Vcpu::SetEvents(const kvm_vcpu_events& events) const {
  return Set(fd_.get(), KVM_SET_VCPU_EVENTS, events, "KVM_SET_VCPU_EVENTS");
}

Result<void> Vcpu::AnnouncePause() const {
  if (::ioctl(fd_.get(), KVM_KVMCLOCK_CTRL, 0) == 0 || errno == EINVAL) return {};
  return FailErrno("KVM_KVMCLOCK_CTRL");
}

Result<uint64_t> Vcpu::GetTsc() const {
  const std::array<uint32_t, 1> index{kMsrTsc};
  const std::vector<kvm_msr_entry> values = TRY(GetMsrs(index));
  if (values.empty()) return Fail(ErrorCode::kUnsupported, "KVM has no time stamp counter");
  return values.front().data;
}

}  // namespace mayfly
