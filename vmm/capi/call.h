#pragma once

#include <memory>
#include <optional>

#include "base/event_fd.h"
#include "base/thread.h"
#include "vmm/capi/function.h"

namespace mayfly::capi {

// An invocation on a thread of its own, behind a handle. The thread holds the function until it is
// done; this holds the thread.
class Call final : public ApiObject {
 public:
  static constexpr Kind kKind = Kind::kCall;

  // `pin` is on `function`, whose turn this is.
  static Result<std::unique_ptr<Call>> Start(Function* function, HandlePin pin, Function::Turn turn,
                                             std::vector<uint8_t> event, InvocationRequest request);
  ~Call() override;

  [[nodiscard]] int fd() const { return done_.fd(); }
  Status Wait(int timeout_ms) const;
  // As Deliver(); E_AGAIN before there is an outcome.
  Status Fetch(void* buffer, size_t* size) const;
  void Cancel();

  void Interrupt() override;

 private:
  Call(Library* library, Function* function, EventFd done, EventFd closing)
      : ApiObject(library),
        done_(std::move(done)),
        closing_(std::move(closing)),
        function_(function) {}

  const EventFd done_;  // Signalled once, never read.
  const EventFd closing_;

  mutable Mutex mutex_;
  Function* function_ GUARDED_BY(mutex_);  // Null once there is an outcome.
  std::optional<Outcome> outcome_ GUARDED_BY(mutex_);

  Thread thread_;  // Last: joined before the rest goes.
};

}  // namespace mayfly::capi
