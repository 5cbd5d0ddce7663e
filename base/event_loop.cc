#include "base/event_loop.h"

#include <sys/epoll.h>

#include <algorithm>
#include <array>

namespace mayfly {
namespace {

constexpr uint64_t kWakeupId = 0;

epoll_event EventFor(uint64_t id, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  return event;
}

}  // namespace

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  UniqueFd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return FailErrno("epoll_create1");
  EventFd wakeup = TRY(EventFd::Create());
  epoll_event event = EventFor(kWakeupId, EPOLLIN);
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, wakeup.fd(), &event) != 0) {
    return FailErrno("epoll_ctl");
  }
  return std::unique_ptr<EventLoop>(new EventLoop(std::move(epoll), std::move(wakeup)));
}

Result<EventLoop::WatchId> EventLoop::Watch(int fd, uint32_t events, WatchCallback callback) {
  MutexLock lock(mutex_);
  const WatchId id = next_id_++;
  epoll_event event = EventFor(id, events);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) return FailErrno("epoll_ctl(add)");
  watches_.emplace(id, WatchEntry{fd, std::make_shared<WatchCallback>(std::move(callback))});
  return id;
}

Result<void> EventLoop::Modify(WatchId id, uint32_t events) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(id);
  if (found == watches_.end()) return Fail(ErrorCode::kInvalidArgument, "epoll: no such watch");
  epoll_event event = EventFor(id, events);
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, found->second.fd, &event) != 0) {
    return FailErrno("epoll_ctl(modify)");
  }
  return {};
}

void EventLoop::Remove(WatchId id) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(id);
  if (found == watches_.end()) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, found->second.fd, nullptr);
  watches_.erase(found);
}

EventLoop::TimerId EventLoop::After(Clock::duration delay, std::function<void()> callback) {
  TimerId id = 0;
  {
    MutexLock lock(mutex_);
    id = next_id_++;
    timers_.emplace(id, TimerEntry{Clock::now() + delay, std::move(callback)});
  }
  // The loop's own thread looks at its timers before it waits again.
  if (!IsCurrentThread()) wakeup_.Signal();
  return id;
}

void EventLoop::Cancel(TimerId id) {
  MutexLock lock(mutex_);
  timers_.erase(id);
}

void EventLoop::Post(std::function<void()> work) {
  {
    MutexLock lock(mutex_);
    posted_.push_back(std::move(work));
  }
  wakeup_.Signal();
}

void EventLoop::Stop() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
  }
  if (!IsCurrentThread()) wakeup_.Signal();
}

Result<void> EventLoop::Run() {
  runner_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  const Result<void> ran = RunUntilStopped();
  runner_.store(std::thread::id(), std::memory_order_relaxed);
  return ran;
}

Result<void> EventLoop::RunUntilStopped() {
  std::array<epoll_event, 64> events;
  while (true) {
    {
      MutexLock lock(mutex_);
      if (stop_) {
        stop_ = false;
        return {};
      }
    }
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   TimeoutMilliseconds());
    if (count < 0 && errno != EINTR) return FailErrno("epoll_wait");
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<size_t>(i)];
      if (event.data.u64 == kWakeupId) {
        wakeup_.Clear();
      } else {
        Dispatch(event.data.u64, event.events);
      }
    }
    RunPosted();
    RunDueTimers();
  }
}

void EventLoop::Dispatch(uint64_t id, uint32_t events) {
  std::shared_ptr<WatchCallback> callback;
  {
    MutexLock lock(mutex_);
    const auto found = watches_.find(id);
    if (found == watches_.end()) return;
    callback = found->second.callback;
  }
  (*callback)(events);
}

void EventLoop::RunPosted() {
  std::vector<std::function<void()>> posted;
  {
    MutexLock lock(mutex_);
    posted.swap(posted_);
  }
  for (const auto& work : posted) work();
}

void EventLoop::RunDueTimers() {
  while (true) {
    std::function<void()> callback;
    {
      MutexLock lock(mutex_);
      const auto next =
          std::ranges::min_element(timers_, {}, [](const auto& timer) { return timer.second.due; });
      if (next == timers_.end() || next->second.due > Clock::now()) return;
      callback = std::move(next->second.callback);
      timers_.erase(next);
    }
    callback();
  }
}

int EventLoop::TimeoutMilliseconds() {
  MutexLock lock(mutex_);
  if (timers_.empty()) return -1;
  const auto next =
      std::ranges::min_element(timers_, {}, [](const auto& timer) { return timer.second.due; });
  const auto left = next->second.due - Clock::now();
  if (left <= Clock::duration::zero()) return 0;
  // Rounded up, so that the timer is due when epoll_wait returns.
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::min<int64_t>(milliseconds, 60'000));
}

}  // namespace mayfly
