#pragma once

#include <memory>
#include <optional>

#include "base/log.h"
#include "base/result.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_directory.h"
#include "snapshot/verified_stamp.h"
#include "vmm/cli/options.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// A plain machine's snapshot before it is restored: all is open, and compared with what the options
// say, that a machine of it needs of files. One thread. Stays where it is: parts of it borrow from
// others.
struct MachineRestore {
  // `options.restore` is set.
  static Result<std::unique_ptr<MachineRestore>> Open(const VmOptions& options);
  MachineRestore(const MachineRestore&) = delete;
  MachineRestore& operator=(const MachineRestore&) = delete;

  // Fills the memory and makes the machine, paused at the beginning of a life of its own. Once.
  // `log` outlives the machine.
  Result<std::unique_ptr<Machine>> Start(MachineConfig machine, LogSink* log);

  std::string directory;
  Snapshot snapshot;  // Without state and memory, which stand below.
  MachineState state{};
  MachineConfig config{};  // Its devices.
  OverrideOptions overrides{};
  std::unique_ptr<MemoryImage> image{};
  std::optional<VerifiedStamps> stamps{};
  MemoryOptions memory{};  // Borrows from the two above.

 private:
  MachineRestore(std::string path, Snapshot opened)
      : directory(std::move(path)), snapshot(std::move(opened)) {}
  Result<void> ChooseMemory(const VmRestoreOptions& options);
  Result<void> ChooseIdentity(const VmOptions& options);
};

}  // namespace mayfly
