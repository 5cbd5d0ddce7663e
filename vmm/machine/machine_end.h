#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/event_fd.h"
#include "base/mutex.h"
#include "base/result.h"

namespace mayfly {

// Why a machine stopped. docs/exit-codes.md maps each to an exit code.
enum class EndReason {
  kPowerOff,         // The guest powered itself off.
  kReset,            // The guest asked for a reset.
  kTripleFault,      // KVM_EXIT_SHUTDOWN
  kInternalError,    // KVM_EXIT_INTERNAL_ERROR, KVM_EXIT_FAIL_ENTRY
  kUnknownExit,      // An exit reason that this VMM does not ask for.
  kMemoryIntegrity,  // An MMIO exit for an address inside RAM: the page behind it is gone.
  kHostError,        // A system call of ours failed.
  kStopped,          // Somebody on the host asked for it.
};

std::string_view NameOf(EndReason reason);

struct MachineEnd {
  EndReason reason;
  std::string detail;  // One line for a person; may be empty.
};

// Holds the first reason for a machine's end; later ones are echoes of it. Any thread.
class EndLatch {
 public:
  static Result<std::unique_ptr<EndLatch>> Create();
  EndLatch(const EndLatch&) = delete;
  EndLatch& operator=(const EndLatch&) = delete;

  void Set(MachineEnd end);
  [[nodiscard]] std::optional<MachineEnd> Get() const;
  // Readable once there is a reason; to be polled, never read.
  [[nodiscard]] int fd() const { return event_.fd(); }

 private:
  explicit EndLatch(EventFd event) : event_(std::move(event)) {}

  EventFd event_;
  mutable Mutex mutex_;
  std::optional<MachineEnd> end_ GUARDED_BY(mutex_);
};

}  // namespace mayfly
