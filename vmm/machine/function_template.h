#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/memory_template.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/function/image.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

// A function's snapshot, opened and checked once, with its memory read, and kept for any number of
// clones. Immutable; any thread.
class FunctionTemplate {
 public:
  struct Options {
    std::string image{};      // The function's, where it is not as the snapshot says.
    bool unverified = false;  // Trusts the memory file.
    const VerifiedStamps* stamps = nullptr;  // As in MemoryOptions.
    bool use_working_set = true;             // What was recorded is filled ahead.
  };

  // What of a clone is not as in the snapshot.
  struct Clone {
    MemoryWay way = MemoryWay::kMap;
    bool record = false;  // Keeps the order of the faults; kUffd only.
    // If it is set, what the clone is made in; kMap only.
    std::unique_ptr<Shell> shell{};
    int console_output = -1;  // Borrowed; -1: the clone's console goes nowhere.
    // Empty: the taps of the snapshot, and no addresses.
    std::vector<NetConfig> nets{};
    std::vector<InterfaceAddress> addresses{};
  };

  // The files are untrusted. Errors are those of Snapshot::Open(), FunctionImage::Open() and
  // RestoreMemory(), and kInvalidArgument for what is no function's snapshot, or another image.
  static Result<std::unique_ptr<FunctionTemplate>> Open(const std::string& path,
                                                        const Options& options);
  FunctionTemplate(const FunctionTemplate&) = delete;
  FunctionTemplate& operator=(const FunctionTemplate&) = delete;

  // As FunctionMachine::Restore().
  Result<std::unique_ptr<FunctionMachine>> Restore(Clone clone, FunctionSession::LogCallback on_log,
                                                   LogSink* log) const;

  [[nodiscard]] const FunctionDescription& description() const { return description_; }
  // What shells are made for.
  [[nodiscard]] const MachineState& state() const { return state_; }

 private:
  FunctionTemplate(std::string path, Manifest manifest, MachineState state, FunctionImage image,
                   FunctionDescription description, std::unique_ptr<MemoryTemplate> memory)
      : path_(std::move(path)),
        manifest_(std::move(manifest)),
        state_(std::move(state)),
        image_(std::move(image)),
        description_(std::move(description)),
        memory_(std::move(memory)) {}

  Result<FunctionCloneConfig> ConfigOf(Clone clone) const;
  Result<RestoredMemory> MemoryOf(MemoryWay way, bool record) const;

  const std::string path_;  // For errors.
  const Manifest manifest_;
  const MachineState state_;
  const FunctionImage image_;
  const FunctionDescription description_;
  const std::unique_ptr<MemoryTemplate> memory_;
  std::optional<WorkingSet> working_set_;
};

}  // namespace mayfly
