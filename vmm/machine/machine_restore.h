#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_directory.h"
#include "snapshot/verified_stamp.h"
#include "vmm/config/overrides.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_config.h"
#include "vmm/machine/machine_manifest.h"

namespace mayfly {

// A plain machine's snapshot before it is restored: all is open, and compared with what the options
// say, that a machine of it needs of files. One thread. Stays where it is: parts of it borrow from
// others.
struct MachineRestore {
  struct Options {
    MemoryWay way = MemoryWay::kMap;
    bool unverified = false;                 // Trusts the memory file.
    std::optional<VerifiedStamps> stamps{};  // As in MemoryOptions.
    Overrides overrides{};
  };

  // The files are untrusted. Errors are those of Snapshot::Open() and ConfigOfClone(), and
  // kInvalidArgument, naming the key, for overrides of what the snapshot does not have. A vsock
  // whose CID neither the bindings nor the overrides say gets a random one.
  static Result<std::unique_ptr<MachineRestore>> Open(const std::string& directory,
                                                      MachineBindings bindings, Options options);
  MachineRestore(const MachineRestore&) = delete;
  MachineRestore& operator=(const MachineRestore&) = delete;

  // Fills the memory and makes the machine, paused at the beginning of a life of its own. Once.
  // `log` outlives the machine.
  Result<std::unique_ptr<Machine>> Start(MachineConfig machine, LogSink* log);

  std::string directory;
  Snapshot snapshot;  // Without state and memory, which stand below.
  MachineState state{};
  MachineConfig config{};  // Its devices.
  Options options{};
  std::unique_ptr<MemoryImage> image{};
  MemoryOptions memory{};  // Borrows from the two above.

 private:
  MachineRestore(std::string path, Snapshot opened)
      : directory(std::move(path)), snapshot(std::move(opened)) {}
  void ChooseMemory();
  Result<void> ChooseIdentity();
};

}  // namespace mayfly
