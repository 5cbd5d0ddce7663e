#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "base/event_fd.h"
#include "base/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// An epoll loop. Run() is called by one thread, the loop's; every other call may come from any
// thread. Callbacks run on the loop's thread, one at a time, with no lock of the loop's held.
// A Remove() from another thread does not wait for a callback that is already running: callbacks
// should look up what they concern by id and find it gone.
class EventLoop {
 public:
  using Clock = std::chrono::steady_clock;
  using WatchId = uint64_t;
  using TimerId = uint64_t;
  using WatchCallback = std::function<void(uint32_t epoll_events)>;

  static Result<std::unique_ptr<EventLoop>> Create();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Calls `callback` whenever `fd` (borrowed; it must stay open until Remove()) has one of the
  // EPOLL* `events` (level-triggered unless EPOLLET is set).
  Result<WatchId> Watch(int fd, uint32_t events, WatchCallback callback);
  Result<void> Modify(WatchId id, uint32_t events);
  void Remove(WatchId id);

  // Calls `callback` once, after `delay` from now.
  TimerId After(Clock::duration delay, std::function<void()> callback);
  void Cancel(TimerId id);

  // Runs `work` on the loop's thread, soon.
  void Post(std::function<void()> work);

  // Dispatches until Stop(). Fails only if epoll does.
  Result<void> Run();
  void Stop();
  // True on the thread that is in Run().
  [[nodiscard]] bool IsCurrentThread() const {
    return runner_.load(std::memory_order_relaxed) == std::this_thread::get_id();
  }

 private:
  struct WatchEntry {
    int fd;
    std::shared_ptr<WatchCallback> callback;
  };
  struct TimerEntry {
    Clock::time_point due;
    std::function<void()> callback;
  };

  EventLoop(UniqueFd epoll, EventFd wakeup)
      : epoll_(std::move(epoll)), wakeup_(std::move(wakeup)) {}
  Result<void> RunUntilStopped();
  void Dispatch(uint64_t id, uint32_t events);
  void RunDueTimers();
  void RunPosted();
  int TimeoutMilliseconds();

  UniqueFd epoll_;
  EventFd wakeup_;
  std::atomic<std::thread::id> runner_{};

  Mutex mutex_;
  uint64_t next_id_ GUARDED_BY(mutex_) = 1;
  std::map<WatchId, WatchEntry> watches_ GUARDED_BY(mutex_);
  std::map<TimerId, TimerEntry> timers_ GUARDED_BY(mutex_);
  std::vector<std::function<void()>> posted_ GUARDED_BY(mutex_);
  bool stop_ GUARDED_BY(mutex_) = false;
};

}  // namespace mayfly
