#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "snapshot/memory_template.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/config/overrides.h"
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
    // If it is valid, the memory as another process has it in a template of the same snapshot,
    // whose manifest's digest, in hexadecimal, is `manifest`: nothing is read or compared again.
    UniqueFd memory{};
    std::string manifest{};
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
    Overrides overrides{};  // All but the CID: a function's sockets lead only to mayfly.
    FunctionJail jail{};
  };

  // The files are untrusted. Errors are those of Snapshot::Open(), FunctionImage::Open() and
  // RestoreMemory(), and kInvalidArgument for what is no function's snapshot, or another image.
  static Result<std::unique_ptr<FunctionTemplate>> Open(const std::string& path, Options options);
  FunctionTemplate(const FunctionTemplate&) = delete;
  FunctionTemplate& operator=(const FunctionTemplate&) = delete;

  // As FunctionMachine::Restore().
  Result<std::unique_ptr<FunctionMachine>> Restore(Clone clone, FunctionSession::LogCallback on_log,
                                                   LogSink* log) const;

  [[nodiscard]] const FunctionDescription& description() const { return description_; }
  // What shells are made for.
  [[nodiscard]] const MachineState& state() const { return state_; }
  // For another process, to open the same template there.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const FunctionImage& image() const { return image_; }
  [[nodiscard]] int memory_fd() const { return memory_->fd(); }
  [[nodiscard]] const std::string& manifest_digest() const { return manifest_digest_; }
  [[nodiscard]] bool uses_working_set() const { return working_set_.has_value(); }
  [[nodiscard]] size_t net_count() const { return manifest_.nets.size(); }

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

  const std::string path_;
  const Manifest manifest_;
  const MachineState state_;
  const FunctionImage image_;
  const FunctionDescription description_;
  const std::unique_ptr<MemoryTemplate> memory_;
  std::string manifest_digest_;  // In hexadecimal.
  // Without state and memory: as long as it is there, nobody removes it, nor what it lies over.
  // Nothing where the memory is another process's, which has it.
  std::optional<Snapshot> held_;
  std::optional<WorkingSet> working_set_;
};

}  // namespace mayfly
