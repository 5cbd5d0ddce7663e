#include "vmm/machine/vcpu_exit.h"

#include <fmt/format.h>

#include <cerrno>

namespace mayfly {

std::optional<MachineEnd> EndOf(const kvm_run& run, uint32_t vcpu) {
  switch (run.exit_reason) {
    case KVM_EXIT_INTR:
    // Level-triggered interrupts are not offered, so there is nothing to send again.
    case KVM_EXIT_IOAPIC_EOI:
      return std::nullopt;
    case KVM_EXIT_SHUTDOWN:
      return MachineEnd{EndReason::kTripleFault, fmt::format("vCPU {}", vcpu)};
    case KVM_EXIT_SYSTEM_EVENT:
      return MachineEnd{run.system_event.type == KVM_SYSTEM_EVENT_SHUTDOWN ? EndReason::kPowerOff
                                                                           : EndReason::kReset,
                        fmt::format("system event {}", run.system_event.type)};
    case KVM_EXIT_INTERNAL_ERROR:
      return MachineEnd{EndReason::kInternalError,
                        fmt::format("vCPU {}, suberror {}", vcpu, run.internal.suberror)};
    case KVM_EXIT_FAIL_ENTRY:
      return MachineEnd{EndReason::kInternalError,
                        fmt::format("vCPU {} could not enter the guest, hardware reason {:#x}",
                                    vcpu, run.fail_entry.hardware_entry_failure_reason)};
    default:
      return MachineEnd{EndReason::kUnknownExit,
                        fmt::format("vCPU {}, exit reason {}", vcpu, run.exit_reason)};
  }
}

MachineEnd EndOf(const Error& error) {
  // The page behind an address of the guest's cannot be had. Some hosts say it in this way, others
  // with an MMIO exit.
  if (error.errno_value() == EFAULT) return {EndReason::kMemoryIntegrity, error.message()};
  return {EndReason::kHostError, error.message()};
}

}  // namespace mayfly
