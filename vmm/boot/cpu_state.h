#pragma once

#include "base/result.h"
#include "vmm/boot/kernel.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Writes the GDT and, for the 64-bit protocol, page tables that map the first 4 GiB one to one.
Result<void> WriteCpuTables(BootProtocol protocol, const GuestMemory& memory);

// Puts a freshly made first vCPU where `kernel` begins. The other vCPUs stay as KVM makes them:
// they wait for the guest's INIT and SIPI.
Result<void> SetBootState(const Vcpu& vcpu, const LoadedKernel& kernel);

}  // namespace mayfly
