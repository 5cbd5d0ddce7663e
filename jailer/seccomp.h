#pragma once

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

#include "base/event_fd.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "jailer/thread_kind.h"

namespace mayfly {

// From here on the calling thread may make the system calls of its kind alone; anything else ends
// the process with SIGSYS. Sets no_new_privs. A thread other than the first ends at once when its
// body returns, without what the C library does then.
Result<void> ApplyFilter(ThreadKind kind);

// What ApplyFilter() needs of the C library before there are other threads: memory from the heap
// alone, so that no thread maps any, and stacks small enough that joining threads unmaps none.
void PrepareForFilters();

// Names what the filters would not have allowed, and lets it happen: for whoever changes the VMM or
// the table, and for nobody else. Watches from a thread without a filter. Outlives the threads that
// call Apply().
class SeccompLog {
 public:
  // `log` is borrowed.
  static Result<std::unique_ptr<SeccompLog>> Create(LogSink* log);
  SeccompLog(const SeccompLog&) = delete;
  SeccompLog& operator=(const SeccompLog&) = delete;
  ~SeccompLog();

  // As ApplyFilter(), but what is not allowed is logged, once for each kind of thread.
  Result<void> Apply(ThreadKind kind);

 private:
  struct Listener {
    ThreadKind kind;
    UniqueFd fd;
  };

  SeccompLog(LogSink* log, EventFd changed) : log_(log), changed_(std::move(changed)) {}
  void Watch();
  void Answer(const Listener& listener);

  LogSink* const log_;
  const EventFd changed_;  // A listener is new, or it is time to stop.
  std::atomic<bool> stop_{false};
  Mutex mutex_;
  std::vector<Listener> new_ GUARDED_BY(mutex_);
  std::vector<std::pair<ThreadKind, int>> seen_;  // The thread's.
  Thread thread_;
};

}  // namespace mayfly
