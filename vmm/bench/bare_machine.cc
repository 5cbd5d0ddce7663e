#include "vmm/bench/bare_machine.h"

#include <sys/ioctl.h>

#include <algorithm>

#include "base/bytes.h"
#include "base/restore_page.h"
#include "vmm/boot/layout.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

template <class T>
Result<void> Call(int fd, unsigned long request, const T& argument, const char* name) {
  if (::ioctl(fd, request, &argument) < 0) return FailErrno(name);
  return {};
}

}  // namespace

std::unique_ptr<PreparedVcpu> PreparedVcpu::Of(const VcpuState& state) {
  auto prepared = std::make_unique<PreparedVcpu>();
  prepared->state = state;
  prepared->cpuid.count = static_cast<uint32_t>(state.cpuid.size());
  std::ranges::copy(state.cpuid, prepared->cpuid.entries);
  prepared->msrs.count = static_cast<uint32_t>(state.msrs.size());
  std::ranges::copy(state.msrs, prepared->msrs.entries);
  return prepared;
}

Result<void> BareMachine::SetState(const PreparedVcpu& prepared) {
  const VcpuState& state = prepared.state;
  const int vcpu = vcpu_.get();
  TRY(Call(vcpu, KVM_SET_MP_STATE, kvm_mp_state{state.mp_state}, "KVM_SET_MP_STATE"));
  TRY(Call(vcpu, KVM_SET_REGS, state.registers, "KVM_SET_REGS"));
  TRY(Call(vcpu, KVM_SET_SREGS, state.system, "KVM_SET_SREGS"));
  if (state.xcrs.nr_xcrs > 0) TRY(Call(vcpu, KVM_SET_XCRS, state.xcrs, "KVM_SET_XCRS"));
  TRY(Call(vcpu, abi::kSetXsave, state.xsave, "KVM_SET_XSAVE"));
  TRY(Call(vcpu, KVM_SET_DEBUGREGS, state.debug, "KVM_SET_DEBUGREGS"));
  TRY(Call(vcpu, KVM_SET_LAPIC, state.lapic, "KVM_SET_LAPIC"));
  TRY(Call(vcpu, abi::kSetMsrs, prepared.msrs, "KVM_SET_MSRS"));
  return Call(vcpu, KVM_SET_VCPU_EVENTS, state.events, "KVM_SET_VCPU_EVENTS");
}

Result<BareMachine> BareMachine::Create(int kvm, const PreparedVcpu& prepared,
                                        std::span<uint8_t> memory) {
  BareMachine machine = TRY(CreateShell(kvm, prepared, memory));
  TRY(machine.SetState(prepared));
  return machine;
}

Result<BareMachine> BareMachine::CreateShell(int kvm, const PreparedVcpu& prepared,
                                             std::span<uint8_t> memory) {
  const int run_size = ::ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < 0) return FailErrno("KVM_GET_VCPU_MMAP_SIZE");
  UniqueFd vm(::ioctl(kvm, KVM_CREATE_VM, 0));
  if (!vm.valid()) return FailErrno("KVM_CREATE_VM");
  const uint64_t low = std::min<uint64_t>(memory.size(), GuestMemory::kHoleStart);
  const auto host = reinterpret_cast<uint64_t>(memory.data());
  TRY(Call(vm.get(), KVM_SET_USER_MEMORY_REGION, kvm_userspace_memory_region{0, 0, 0, low, host},
           "KVM_SET_USER_MEMORY_REGION"));
  if (memory.size() > low) {
    TRY(Call(
        vm.get(), KVM_SET_USER_MEMORY_REGION,
        kvm_userspace_memory_region{1, 0, GuestMemory::kHoleEnd, memory.size() - low, host + low},
        "KVM_SET_USER_MEMORY_REGION"));
  }
  kvm_enable_cap split{};
  split.cap = KVM_CAP_SPLIT_IRQCHIP;
  split.args[0] = layout::kIoapicPins;
  TRY(Call(vm.get(), KVM_ENABLE_CAP, split, "KVM_CAP_SPLIT_IRQCHIP"));
  UniqueFd vcpu(::ioctl(vm.get(), KVM_CREATE_VCPU, 0));
  if (!vcpu.valid()) return FailErrno("KVM_CREATE_VCPU");
  Mapping run = TRY(Mapping::File(vcpu.get(), 0, static_cast<size_t>(run_size),
                                  PROT_READ | PROT_WRITE, MAP_SHARED));
  TRY(Call(vcpu.get(), abi::kSetCpuid2, prepared.cpuid, "KVM_SET_CPUID2"));
  return BareMachine(std::move(vm), std::move(vcpu), std::move(run));
}

Result<void> BareMachine::RunTo(uint32_t value) {
  auto* const run = reinterpret_cast<kvm_run*>(run_.data());
  while (true) {
    if (::ioctl(vcpu_.get(), KVM_RUN, 0) != 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return FailErrno("KVM_RUN");
    }
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != kDoorbellPort) {
      return Fail(ErrorCode::kGuest, "floor: the guest does not ring its doorbell");
    }
    const auto* data = reinterpret_cast<const uint8_t*>(run) + run->io.data_offset;
    if (LoadLe<uint32_t>({data, sizeof(uint32_t)}) == value) return {};
  }
}

}  // namespace mayfly
