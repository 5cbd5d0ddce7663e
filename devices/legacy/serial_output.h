#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>

#include "base/event_loop.h"
#include "base/mutex.h"
#include "devices/metrics.h"

namespace mayfly {

struct SerialMetrics {
  Counter written;
  Counter dropped;

  // Calls `visit(name, help, pointer to member)` for every metric.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("written_bytes_total", "Console output that went out.", &SerialMetrics::written);
    visit("dropped_bytes_total", "Console output that nobody took in time.",
          &SerialMetrics::dropped);
  }
};

// Where a guest's serial output goes: a descriptor that is never waited for. What it does not take
// at once is kept, up to a limit, and written by the event loop; beyond the limit it is dropped and
// counted, so that a guest that prints without end costs 64 KiB and no vCPU ever blocks on a slow
// reader. Any thread.
class SerialOutput {
 public:
  static constexpr size_t kMaxPending = size_t{64} * 1024;

  // `fd` and `loop` are borrowed; with an fd of -1 everything is dropped. The descriptor's flags
  // are left alone: it may be a terminal that others share. With `drain_in_loop` nothing is written
  // by whoever calls Write(), who may have no system calls for it.
  SerialOutput(int fd, EventLoop* loop, bool drain_in_loop = false)
      : fd_(fd), loop_(loop), drain_in_loop_(drain_in_loop) {}
  SerialOutput(const SerialOutput&) = delete;
  SerialOutput& operator=(const SerialOutput&) = delete;
  ~SerialOutput();

  void Write(std::span<const uint8_t> bytes);
  // Writes what can be written now; for the end, when the loop does not run any more.
  void Drain();
  [[nodiscard]] uint64_t dropped() const { return metrics_.dropped.value(); }
  [[nodiscard]] const SerialMetrics& metrics() const { return metrics_; }

 private:
  // What poll(2) says can be written without blocking: to a pipe, PIPE_BUF bytes.
  static constexpr size_t kMaxWrite = 4096;

  void DrainOrWatchLocked() REQUIRES(mutex_);
  void DrainLocked() REQUIRES(mutex_);
  void WatchLocked() REQUIRES(mutex_);

  const int fd_;
  EventLoop* const loop_;
  const bool drain_in_loop_;
  mutable Mutex mutex_;
  std::deque<uint8_t> pending_ GUARDED_BY(mutex_);
  EventLoop::WatchId watch_ GUARDED_BY(mutex_) = 0;  // 0: not watched.
  bool failed_ GUARDED_BY(mutex_) = false;
  bool posted_ GUARDED_BY(mutex_) = false;  // The loop is about to drain it.
  SerialMetrics metrics_;
};

}  // namespace mayfly
