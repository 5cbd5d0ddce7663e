#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "base/log.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "vmm/machine/shell.h"

namespace mayfly {

// Shells of one shape that wait for a restore. Any thread.
class ShellPool {
 public:
  static constexpr size_t kMostShells = 4096;

  // For machines like `state`, which must outlive the pool. With `refill`, a thread of the pool's
  // keeps it as full as Fill() has made it. `log` is borrowed, and may be null.
  ShellPool(const MachineState* state, bool refill, LogSink* log);
  ShellPool(const ShellPool&) = delete;
  ShellPool& operator=(const ShellPool&) = delete;
  ~ShellPool();

  // Makes `count` shells more. kTooLarge, with nothing done, above kMostShells.
  Result<void> Fill(size_t count);
  // Null if there is none.
  std::unique_ptr<Shell> Take();
  [[nodiscard]] size_t available() const;

 private:
  void Refill();

  const MachineState* const state_;
  LogSink* const log_;

  mutable Mutex mutex_;
  ConditionVariable changed_;
  std::deque<std::unique_ptr<Shell>> shells_ GUARDED_BY(mutex_);
  size_t wanted_ GUARDED_BY(mutex_) = 0;
  bool stop_ GUARDED_BY(mutex_) = false;

  Thread refiller_;  // Last: joined before the rest goes.
};

}  // namespace mayfly
