#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/mutex.h"
#include "base/result.h"
#include "snapshot/working_set.h"

namespace mayfly {

// What fills a restored guest's memory while the guest runs. Owned by the machine; the memory
// outlives it, and whoever touches the memory ends before it.
//
// A page that cannot be had ends the machine. Nobody ever sees anything else in its place: KVM_RUN
// fails, and GuestMemory refuses the access.
class Pager {
 public:
  Pager() = default;
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;
  virtual ~Pager() = default;

  // The machine is built and the guest is about to run. The error if a page could not be had until
  // now; from now on `failed` is called for the first such error, on a thread of the pager's.
  Result<void> Begin(std::function<void(const Error&)> failed);
  // The machine ends: who waits for a page need not get it any more.
  virtual void Abandon() {}

  // The faults so far, in order, if they were recorded.
  [[nodiscard]] virtual WorkingSet TakeRecord() { return {}; }
  // How many faults it has answered, if it knows.
  [[nodiscard]] virtual uint64_t fault_count() const { return 0; }

 protected:
  // Only the first error counts.
  void SetFailed(const Error& error);

 private:
  Mutex mutex_;
  std::function<void(const Error&)> failed_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);
};

}  // namespace mayfly
