#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "base/event_fd.h"
#include "base/log.h"
#include "snapshot/restored_memory.h"
#include "snapshot/snapshot_writer.h"
#include "vmm/config/interface_address.h"
#include "vmm/control/control_channel.h"
#include "vmm/control/function_session.h"
#include "vmm/function/description.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/shell.h"

namespace mayfly {

// For a machine in a jail, which opens nothing any more: all empty for others.
struct FunctionJail {
  UniqueFd kvm{};     // /dev/kvm
  UniqueFd kernel{};  // For a machine that boots.
  ThreadHooks threads{};
  // Called when all threads are there and before the guest runs.
  std::function<void()> lock_down{};
};

struct FunctionMachineConfig {
  FunctionDescription description;
  std::string image_name;  // For errors.
  UniqueFd image;          // The .mfn file, read-only.
  std::string kernel;
  std::vector<uint8_t> initrd;
  int console_output = -1;  // Borrowed; -1: the guest has no console.
  std::vector<NetConfig> nets;
  std::vector<InterfaceAddress> addresses;  // What init gives eth0, eth1 ...: those of `nets`.
  bool snapshot = false;                    // The function is told that SaveSnapshot() will come.
  FunctionJail jail{};
};

// What a clone of a function's snapshot is bound to, where it is not as in the snapshot.
struct FunctionCloneConfig {
  FunctionDescription description;
  std::string image_name;
  UniqueFd image;
  int console_output = -1;  // As above.
  std::vector<NetConfig> nets;
  std::vector<InterfaceAddress> addresses;
  // If it is set, what the clone is made in, filled with its memory.
  std::unique_ptr<Shell> shell;
  // Nothing: random ones.
  std::optional<GenerationGuid> generation{};
  std::optional<std::array<uint8_t, 64>> entropy{};  // Of the restore page; for tests.
  FunctionJail jail{};
};

// A machine with one function in it: booted from a kernel, driven over the control channel. One
// thread, but for Interrupt(). After an error of Load() or Invoke(), or a handler error in an
// invocation's result, the machine is not to be used again.
class FunctionMachine {
 public:
  // From the start of the machine to init's hello. A stock kernel that loads its drivers as modules
  // takes 12 s where virtualisation is emulated.
  static constexpr std::chrono::seconds kBootTimeout{90};
  // From the wish for a snapshot to init's doorbell: it drops caches and clears free memory.
  static constexpr std::chrono::seconds kSnapshotTimeout{60};

  struct Timings {
    std::chrono::steady_clock::time_point created;  // The machine is built, the guest about to run.
    std::chrono::steady_clock::time_point hello;    // Init has reached the control channel.
    std::chrono::steady_clock::time_point ready;    // The handler is ready for events.
  };

  // Builds the machine and lets it run. `log` is borrowed.
  static Result<std::unique_ptr<FunctionMachine>> Boot(FunctionMachineConfig config,
                                                       FunctionSession::LogCallback on_log,
                                                       LogSink* log);
  // Restores the machine that SaveSnapshot() saved and lets it run: it is ready for Invoke(), and
  // is not to be loaded. `memory` is empty if there is a shell. It begins a life of its own, with
  // fresh entropy and the host's clock.
  static Result<std::unique_ptr<FunctionMachine>> Restore(FunctionCloneConfig config,
                                                          MachineState state, RestoredMemory memory,
                                                          FunctionSession::LogCallback on_log,
                                                          LogSink* log);
  FunctionMachine(const FunctionMachine&) = delete;
  FunctionMachine& operator=(const FunctionMachine&) = delete;
  ~FunctionMachine();

  // Waits until the handler is ready. kHandler if it does not start, kGuest if the machine ends.
  Result<void> Load();
  // As FunctionSession::Invoke().
  Result<InvocationResult> Invoke(std::span<const uint8_t> event, const Invocation& invocation);

  // How a snapshot went.
  struct Saved {
    std::chrono::steady_clock::duration pause;  // What a machine that goes on has to stand still.
    uint64_t data_bytes;                        // Of its memory, what was written.
  };
  // Has init bring the function to its snapshot point and writes the snapshot there; over a parent,
  // if the writer has the one that it was restored from. After Load() or Restore(), with no
  // invocation running; the machine stays paused, and is only to be stopped. Errors as of Load()
  // and SnapshotWriter.
  Result<Saved> SaveSnapshot(SnapshotWriter writer, Manifest manifest,
                             const VerifiedStamps* stamps);

  // Ends what Load() or Invoke() waits for, with a kGuest error that says `reason`. Any thread.
  void Interrupt(const std::string& reason) { channel_.Close(reason); }
  void Stop();

  [[nodiscard]] std::optional<MachineEnd> end() const { return machine_->end(); }
  // After Load(): it takes no events before it was saved and restored.
  [[nodiscard]] bool awaits_restore() const { return session_.awaits_restore(); }
  // Null unless it was restored over one.
  [[nodiscard]] Pager* pager() const { return machine_->pager(); }
  [[nodiscard]] const MetricsRegistry& metrics() const { return machine_->metrics(); }
  [[nodiscard]] const Timings& timings() const { return timings_; }

 private:
  FunctionMachine(FunctionDescription description, std::vector<InterfaceAddress> addresses,
                  FunctionSession::LogCallback on_log);

  // For init's doorbell, and for the end of whatever waits.
  Result<void> Adopt(std::unique_ptr<Machine> machine, bool jailed);
  void Begin(const FunctionJail& jail);
  Result<void> WaitForDoorbell();

  const FunctionDescription description_;
  const std::vector<InterfaceAddress> addresses_;
  ControlChannel channel_;
  FunctionSession session_;
  bool snapshot_ = false;
  std::optional<EventFd> doorbell_;  // Signalled when init has come to its snapshot point.
  Timings timings_{};
  std::unique_ptr<Machine> machine_;  // Last: it calls into the channel.
};

}  // namespace mayfly
