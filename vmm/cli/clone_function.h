#pragma once

#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_directory.h"
#include "snapshot/verified_stamp.h"
#include "vmm/cli/options.h"
#include "vmm/cli/pager_process.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

// A function's snapshot before it is restored: all is open, and compared with what the options say,
// that a machine of it needs of files. One thread. Stays where it is: parts of it borrow from
// others.
struct FunctionRestore {
  static Result<std::unique_ptr<FunctionRestore>> Open(const RestoreOptions& options);
  FunctionRestore(const FunctionRestore&) = delete;
  FunctionRestore& operator=(const FunctionRestore&) = delete;

  // Fills the memory and lets the machine run. Once. `log` outlives the machine.
  Result<std::unique_ptr<FunctionMachine>> Start(FunctionSession::LogCallback on_log, LogSink* log);

  std::string directory;
  Snapshot snapshot;  // Without state and memory, which stand below.
  MachineState state{};
  FunctionCloneConfig config{};
  std::string name{};
  uint32_t timeout_ms = 0;  // For one invocation.
  std::unique_ptr<MemoryImage> image{};
  std::optional<VerifiedStamps> stamps{};
  std::optional<WorkingSet> working_set{};
  std::unique_ptr<PagerProcess> pager{};  // Null unless it was started for this machine, and
                                          // outlives it.
  RemotePager::Options remote{};
  MemoryOptions memory{};  // Borrows from the four above.

 private:
  FunctionRestore(std::string path, Snapshot opened)
      : directory(std::move(path)), snapshot(std::move(opened)) {}
  Result<void> ChooseMemory(const RestoreOptions& options);
};

// A function that was restored from a snapshot and runs.
struct FunctionClone {
  Snapshot snapshot;  // Without state and memory, which the machine has; kept open beside it.
  std::unique_ptr<PagerProcess> pager;  // Null unless it was started for this machine.
  std::unique_ptr<FunctionMachine> machine;
  std::string name;
  uint32_t timeout_ms;  // For one invocation.
};

// The same way, as the snapshot's folder has it.
MemoryWay WayOf(FillMemory memory);

// Restores what `options` say. `log` outlives the machine.
Result<FunctionClone> CloneFunction(const RestoreOptions& options,
                                    FunctionSession::LogCallback on_log, LogSink* log);

}  // namespace mayfly
