#pragma once

#include <memory>

#include "vmm/machine/machine.h"

namespace mayfly {

// A machine without contents, made ahead of time for the states of one shape: KVM's machine with
// its vCPUs and their CPUID, a memory slot over addresses that nothing stands behind yet, interrupt
// lines, and threads that wait. One restore takes it; it is never used again. One thread at a time.
class Shell {
 public:
  // In the shape of `state`: memory, vCPUs, and the number of devices. kUnsupported, with both
  // sides, if this host cannot continue such a state.
  static Result<std::unique_ptr<Shell>> Create(const MachineState& state);
  // The same for a machine in a jail: with /dev/kvm, and what its threads call first.
  static Result<std::unique_ptr<Shell>> Create(const MachineState& state, UniqueFd kvm,
                                               ThreadHooks threads);
  Shell(const Shell&) = delete;
  Shell& operator=(const Shell&) = delete;

  // Puts a private mapping of `fd`, a memory image of as many bytes as memory() has, behind the
  // slot.
  Result<void> Fill(int fd) const { return parts_.memory->MapOver(fd); }
  [[nodiscard]] const GuestMemory& memory() const { return *parts_.memory; }

  // For the builder: whether a shell for `state` has its vCPUs' registers set ahead. What time and
  // devices change is set by the restore.
  static bool SetsRegistersOf(const MachineState& state);
  // What there is of a machine; kInvalidArgument if the shell was made for another state.
  Result<Machine::Parts> TakeParts(const MachineState& state) &&;

 private:
  Shell() = default;

  Machine::Parts parts_;
  std::vector<VcpuState> vcpus_;  // Of the state that the shell was made for.
};

}  // namespace mayfly
