#pragma once

#include <optional>
#include <vector>

#include "base/result.h"
#include "snapshot/machine_state.h"
#include "snapshot/manifest.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// The manifest of a snapshot of a plain machine with this configuration, as far as it is known
// before the snapshot. What cannot be opened again by a name alone (a disk with a layer over it, an
// inherited tap) has an empty one.
Result<Manifest> ManifestOfMachine(const MachineConfig& config);

// The taps of a snapshot's devices. kInvalidArgument if one was inherited, and has no name.
Result<std::vector<NetConfig>> NetsOf(const Manifest& manifest);

// The sizes of its disks, which the machine knows.
void SetDiskSizes(const MachineState& state, Manifest* manifest);

// What a machine that is restored is bound to, where it is not as in the snapshot.
struct MachineBindings {
  std::vector<DiskConfig> disks{};     // Empty: those of the manifest.
  std::vector<NetConfig> nets{};       // Empty: the taps of the manifest.
  std::optional<VsockConfig> vsock{};  // Nothing: nobody reaches its sockets.
};

// The configuration of a machine that is restored from a plain machine's snapshot. kInvalidArgument
// for a function's snapshot, and where the bindings do not fit.
Result<MachineConfig> ConfigOfClone(const Manifest& manifest, const MachineState& state,
                                    MachineBindings bindings);

}  // namespace mayfly
