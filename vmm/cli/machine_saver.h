#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>

#include "base/event_fd.h"
#include "base/log.h"
#include "base/result.h"
#include "snapshot/manifest.h"
#include "snapshot/verified_stamp.h"
#include "vmm/cli/confinement.h"
#include "vmm/cli/options.h"
#include "vmm/machine/machine.h"

namespace mayfly {

// Takes the snapshot of a plain machine while somebody waits for the machine's end: when it is
// asked to, after a time, or where the guest rings its doorbell. A snapshot that fails is reported,
// and the machine goes on. One thread but for Request(), and the guest's.
class MachineSaver {
 public:
  // `manifest` as of ManifestOfMachine(). `log` is borrowed.
  static Result<std::unique_ptr<MachineSaver>> Create(VmSnapshotOptions options, Manifest manifest,
                                                      LogSink* log);
  // In a jail: the supervisor does all but the memory. `confinement` is borrowed.
  static Result<std::unique_ptr<MachineSaver>> Create(VmSnapshotOptions options,
                                                      const Confinement* confinement, LogSink* log);
  MachineSaver(const MachineSaver&) = delete;
  MachineSaver& operator=(const MachineSaver&) = delete;

  // Before the machine runs; it is gone before this.
  void Attach(Machine* machine);
  // Has a snapshot taken soon. Any thread.
  void Request();
  // As Machine::WaitOr(). Nothing if the machine was saved and is to end with that; it is paused.
  std::optional<MachineEnd> WaitOr(const EndLatch& other);

 private:
  MachineSaver(VmSnapshotOptions options, Manifest manifest, std::optional<VerifiedStamps> stamps,
               EventFd event, LogSink* log)
      : options_(std::move(options)),
        manifest_(std::move(manifest)),
        stamps_(std::move(stamps)),
        event_(std::move(event)),
        log_(log) {}
  // Waits for one of the two ends, or for a reason to look after the guest.
  std::optional<MachineEnd> WaitOnce(const EndLatch& other) const;
  [[nodiscard]] int MillisecondsLeft() const;
  // True if the machine was saved and is to end with that.
  bool LookAfter();
  // Lets the machine go on as soon as its memory is written, unless it is to end.
  Result<void> Save();
  Result<void> LetGoOn();
  Result<void> SaveInJail();

  const VmSnapshotOptions options_;
  const Manifest manifest_;
  const std::optional<VerifiedStamps> stamps_;  // Nothing in a jail.
  const EventFd event_;
  LogSink* const log_;
  bool saved_ = false;                        // In a jail, and whether it succeeded or not.
  const Confinement* confinement_ = nullptr;  // Null without a jail.
  std::atomic<bool> requested_{false};
  std::atomic<bool> rung_{false};
  Machine* machine_ = nullptr;
  bool paused_ = false;
  bool answers_doorbell_ = false;  // The guest waits for its next life.
  // A guest that rings without end is saved once: another ring is only answered.
  bool heeded_doorbell_ = false;
  std::optional<std::chrono::steady_clock::time_point> due_{};
};

}  // namespace mayfly
