#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "base/temp_dir.h"
#include "snapshot/machine_state.h"
#include "snapshot/memory_image.h"
#include "vmm/bench/bench_guest.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/shell.h"

namespace mayfly {

// The bench's small guest, saved once and kept open: what the clones of a bench are made from. In
// each life the guest touches nothing of a working set. Immutable; any thread.
class CloneSource {
 public:
  // `guest` is its ELF file; the snapshot stands below `directory`, and goes with this.
  static Result<std::unique_ptr<CloneSource>> Create(const std::string& guest,
                                                     const std::string& directory);
  CloneSource(const CloneSource&) = delete;
  CloneSource& operator=(const CloneSource&) = delete;

  [[nodiscard]] const MachineState& state() const { return state_; }
  [[nodiscard]] int memory_fd() const { return memory_->layers().lowest_fd(); }
  // The file that clones map.
  [[nodiscard]] std::string memory_path() const;

  // A clone that runs, in a shell or from scratch; its marks go to `marks`.
  Result<std::unique_ptr<Machine>> Clone(std::unique_ptr<Shell> shell, GuestMarks* marks) const;
  // The same with a callback for the marks, on the vCPU's thread; `begin`, if it is not empty, is
  // called when all threads are there and before the guest runs.
  using OnMark = std::function<void(const Machine& machine, uint32_t mark)>;
  Result<std::unique_ptr<Machine>> Clone(std::unique_ptr<Shell> shell, OnMark on_mark,
                                         const std::function<void()>& begin) const;

 private:
  static constexpr uint64_t kMemoryBytes = 128 << 20;

  CloneSource(TempDir directory, MachineState state, std::unique_ptr<MemoryImage> memory)
      : directory_(std::move(directory)), state_(std::move(state)), memory_(std::move(memory)) {}

  const TempDir directory_;
  const MachineState state_;
  const std::unique_ptr<MemoryImage> memory_;
};

}  // namespace mayfly
