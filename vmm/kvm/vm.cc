#include "vmm/kvm/vm.h"

#include <fmt/format.h>

#include "base/check.h"

namespace mayfly {

Result<void> Vm::SetMemoryRegion(uint32_t slot, const MemoryRegion& region) const {
  kvm_userspace_memory_region request{};
  request.slot = slot;
  request.guest_phys_addr = region.start.value;
  request.memory_size = region.size;
  request.userspace_addr = reinterpret_cast<uint64_t>(region.host);
  if (::ioctl(fd_.get(), KVM_SET_USER_MEMORY_REGION, &request) != 0) {
    return FailErrno("KVM_SET_USER_MEMORY_REGION");
  }
  return {};
}

Result<void> Vm::SetTssAddress(uint64_t address) const {
  if (::ioctl(fd_.get(), KVM_SET_TSS_ADDR, address) != 0) return FailErrno("KVM_SET_TSS_ADDR");
  return {};
}

Result<void> Vm::EnableSplitIrqchip(uint32_t ioapic_pins) const {
  kvm_enable_cap request{};
  request.cap = KVM_CAP_SPLIT_IRQCHIP;
  request.args[0] = ioapic_pins;
  if (::ioctl(fd_.get(), KVM_ENABLE_CAP, &request) != 0) return FailErrno("KVM_CAP_SPLIT_IRQCHIP");
  return {};
}

Result<Vcpu> Vm::CreateVcpu(uint32_t id) const {
  UniqueFd vcpu(::ioctl(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(id)));
  if (!vcpu.valid()) return FailErrno(fmt::format("KVM_CREATE_VCPU {}", id));
  Mapping run = TRY(WithContext(
      Mapping::File(vcpu.get(), 0, run_size_, PROT_READ | PROT_WRITE, MAP_SHARED), "kvm_run"));
  // The machine's is what its vCPUs begin with, and costs a twentieth of asking one of them; but it
  // came only with KVM_CAP_VM_TSC_CONTROL.
  int tsc_khz = ::ioctl(fd_.get(), KVM_GET_TSC_KHZ, 0);
  if (tsc_khz < 0) tsc_khz = ::ioctl(vcpu.get(), KVM_GET_TSC_KHZ, 0);
  if (tsc_khz < 0) return FailErrno("KVM_GET_TSC_KHZ");
  return Vcpu(id, static_cast<uint32_t>(tsc_khz), std::move(vcpu), std::move(run));
}

Result<void> Vm::SetGsiRouting(std::span<const MsiRoute> routes) const {
  auto table = std::make_unique<abi::IrqRouting>();
  CHECK(routes.size() <= std::size(table->entries));
  table->count = static_cast<uint32_t>(routes.size());
  for (size_t i = 0; i < routes.size(); ++i) {
    kvm_irq_routing_entry& entry = table->entries[i];
    entry.gsi = routes[i].gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = static_cast<uint32_t>(routes[i].address);
    entry.u.msi.address_hi = static_cast<uint32_t>(routes[i].address >> 32);
    entry.u.msi.data = routes[i].data;
  }
  if (::ioctl(fd_.get(), abi::kSetGsiRouting, table.get()) != 0) {
    return FailErrno("KVM_SET_GSI_ROUTING");
  }
  return {};
}

Result<void> Vm::AssignIrqfd(int event_fd, uint32_t gsi) const {
  kvm_irqfd request{};
  request.fd = static_cast<uint32_t>(event_fd);
  request.gsi = gsi;
  if (::ioctl(fd_.get(), KVM_IRQFD, &request) != 0) return FailErrno("KVM_IRQFD");
  return {};
}

Result<void> Vm::AssignIoeventfd(int event_fd, uint64_t address) const {
  kvm_ioeventfd request{};
  request.addr = address;
  request.len = sizeof(uint32_t);
  request.fd = event_fd;
  if (::ioctl(fd_.get(), KVM_IOEVENTFD, &request) != 0) return FailErrno("KVM_IOEVENTFD");
  return {};
}

Result<uint64_t> Vm::GetClock() const {
  kvm_clock_data clock{};
  if (::ioctl(fd_.get(), KVM_GET_CLOCK, &clock) != 0) return FailErrno("KVM_GET_CLOCK");
  return clock.clock;
}

Result<void> Vm::SetClock(uint64_t nanoseconds) const {
  kvm_clock_data clock{};
  clock.clock = nanoseconds;
  if (::ioctl(fd_.get(), KVM_SET_CLOCK, &clock) != 0) return FailErrno("KVM_SET_CLOCK");
  return {};
}

}  // namespace mayfly
