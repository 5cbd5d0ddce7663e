#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/unique_fd.h"
#include "vmm/kvm/kvm_abi.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// One line of KVM's routing table: a GSI, and the message to a local APIC that it becomes.
struct MsiRoute {
  uint32_t gsi;
  uint64_t address;
  uint32_t data;
};

// One KVM virtual machine; a method is an ioctl of the same name (Linux,
// Documentation/virt/kvm/api.rst). Any thread.
class Vm {
 public:
  // Memory slots come first of all: registered after an interrupt controller or an ioeventfd, a
  // slot waits for an RCU grace period (7 ms).
  [[nodiscard]] Result<void> SetMemoryRegion(uint32_t slot, const MemoryRegion& region) const;
  [[nodiscard]] Result<void> SetTssAddress(uint64_t address) const;
  // Local APICs in the kernel, IOAPIC in the VMM (KVM_CAP_SPLIT_IRQCHIP). Before the first vCPU.
  [[nodiscard]] Result<void> EnableSplitIrqchip(uint32_t ioapic_pins) const;
  [[nodiscard]] Result<Vcpu> CreateVcpu(uint32_t id) const;
  // Replaces the whole routing table.
  [[nodiscard]] Result<void> SetGsiRouting(std::span<const MsiRoute> routes) const;
  // From now on a signal on the eventfd raises the GSI.
  [[nodiscard]] Result<void> AssignIrqfd(int event_fd, uint32_t gsi) const;
  // From now on a 32-bit write of the guest's to `address` signals the eventfd, and nothing else.
  [[nodiscard]] Result<void> AssignIoeventfd(int event_fd, uint64_t address) const;

  // What kvmclock shows, in nanoseconds. Setting it makes the clock go on from there.
  [[nodiscard]] Result<uint64_t> GetClock() const;
  [[nodiscard]] Result<void> SetClock(uint64_t nanoseconds) const;

 private:
  friend class Kvm;
  Vm(UniqueFd fd, size_t run_size) : fd_(std::move(fd)), run_size_(run_size) {}

  UniqueFd fd_;
  size_t run_size_;
};

}  // namespace mayfly
