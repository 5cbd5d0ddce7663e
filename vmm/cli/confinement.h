#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "base/result.h"
#include "jailer/jail.h"
#include "jailer/seccomp.h"
#include "vmm/cli/jail_request.h"
#include "vmm/cli/jailed_snapshot.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/machine/machine_config.h"

namespace mayfly {

// What a command's machine has to do for its jail, from within; nothing if there is none. One
// thread, but for what hooks() returns.
class Confinement {
 public:
  // No jail.
  Confinement() = default;
  // In the jail. What is to be written goes to `supervisor`. `log` is borrowed.
  static Result<std::unique_ptr<Confinement>> Create(int supervisor, bool log_calls, LogSink* log);
  // The file for the memory of a snapshot; -1: none.
  void SetSnapshotMemory(int fd) { snapshot_memory_ = fd; }
  [[nodiscard]] int snapshot_memory() const { return snapshot_memory_; }

  [[nodiscard]] ThreadHooks hooks();
  // For threads of the command's own, and to be called by its main thread once there is nothing
  // more to open, map or start.
  [[nodiscard]] std::function<void()> lock_down();

  // For MetricsFile; empty without a jail.
  [[nodiscard]] MetricsFile::Writer metrics_writer() const;
  [[nodiscard]] bool active() const { return active_; }
  // Has the supervisor write the snapshot's working set.
  [[nodiscard]] Result<void> SendWorkingSet(const std::vector<uint8_t>& bytes) const;

  // Has the supervisor publish a snapshot with this state; what it says of it.
  [[nodiscard]] Result<void> SendSnapshot(const std::vector<uint8_t>& state) const;

  // In a jail, ends the process: what a thread has no system calls for any more cannot be taken
  // down. Else returns `status`.
  [[nodiscard]] int Finish(int status) const;

 private:
  // The hook that gives a thread its filter; empty without a jail.
  std::function<void()> HookFor(ThreadKind kind);

  Result<void> Send(uint32_t kind, std::span<const uint8_t> bytes) const;

  bool active_ = false;
  int supervisor_ = -1;
  int snapshot_memory_ = -1;
  mutable Mutex sending_;            // One message at a time: metrics are sent by another thread.
  std::unique_ptr<SeccompLog> log_;  // Null if what is not allowed is deadly.
};

// What the supervisor does for a jailed machine.
struct SupervisorTasks {
  std::string metrics{};      // Where to write them.
  std::string working_set{};  // The snapshot that gets one.
  // Its socket is made and removed, and its connections are brokered; the descriptors are put
  // there.
  VsockConfig* vsock = nullptr;
  JailedSnapshot* snapshot = nullptr;  // May be null.
};

struct MachineSize {
  uint64_t memory_bytes = 0;
  uint32_t vcpus = 1;
};

// Runs `body` in a jail, and waits for it: returns the command's exit status. Of the descriptors
// only `keep` are there for it, and those of `before`: see Jail::Start(). Whatever it needs of the
// host is open before.
Result<int> RunConfined(const JailRequest& request, const MachineSize& size, std::vector<int> keep,
                        const SupervisorTasks& tasks, LogSink* log,
                        const std::function<int(Confinement&)>& body,
                        const Jail::Before& before = {});

}  // namespace mayfly
