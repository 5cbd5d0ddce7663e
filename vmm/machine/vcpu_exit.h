#pragma once

#include <linux/kvm.h>

#include <cstdint>
#include <optional>

#include "base/result.h"
#include "vmm/machine/machine_end.h"

namespace mayfly {

// What an exit of KVM_RUN means for the machine, but for those that are served: nothing if the vCPU
// just goes on. Whatever is not known ends the machine: to run on would be to guess.
std::optional<MachineEnd> EndOf(const kvm_run& run, uint32_t vcpu);

// The same for a KVM_RUN that failed.
MachineEnd EndOf(const Error& error);

}  // namespace mayfly
