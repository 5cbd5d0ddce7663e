#include <poll.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <utility>

#include "base/check.h"
#include "base/event_fd.h"
#include "base/event_loop.h"

// EventFd and EventLoop without a system call, linked into fuzz targets in place of base's: with
// the real ones a third of an execution is the kernel's, and all of it for what is the same each
// time. Other descriptors cost one, poll(), in each turn. Not for targets that wait. Time is what
// the loop makes of it: half a second for each turn. One thread, one loop.
namespace mayfly {
namespace {

// Numbers that no open file has. They come round again after more than ever exist at once.
constexpr int kFirstFd = 1 << 30;
constexpr int kFds = 4096;

uint64_t& SignalsOf(int fd) {
  static std::array<uint64_t, kFds> signals{};
  CHECK(fd >= kFirstFd && fd < kFirstFd + kFds);
  return signals[static_cast<size_t>(fd - kFirstFd)];
}

EventLoop::Clock::time_point& Now() {
  static EventLoop::Clock::time_point now;
  return now;
}

// What is waited for on descriptors of other kinds; those that have been told once are not there.
std::map<EventLoop::WatchId, uint32_t>& Armed() {
  static std::map<EventLoop::WatchId, uint32_t> armed;
  return armed;
}

// The same bits in both interfaces (poll(2), epoll_ctl(2)).
static_assert(EPOLLIN == POLLIN && EPOLLOUT == POLLOUT && EPOLLERR == POLLERR &&
              EPOLLHUP == POLLHUP && EPOLLRDHUP == 0x2000);

}  // namespace

Result<EventFd> EventFd::Create() {
  static int next = 0;
  const int fd = kFirstFd + next++ % kFds;
  SignalsOf(fd) = 0;
  return EventFd(UniqueFd(fd));
}

void EventFd::Signal() const { ++SignalsOf(fd_.get()); }

uint64_t EventFd::Take() const { return std::exchange(SignalsOf(fd_.get()), 0); }

Result<std::unique_ptr<EventLoop>> EventLoop::Create() {
  EventFd wake = TRY(EventFd::Create());
  return std::unique_ptr<EventLoop>(new EventLoop(UniqueFd(), std::move(wake)));
}

Result<EventLoop::WatchId> EventLoop::Watch(int fd, uint32_t events, WatchCallback callback) {
  MutexLock lock(mutex_);
  const WatchId id = next_id_++;
  if (fd < kFirstFd) Armed()[id] = events;
  watches_.emplace(id, WatchEntry{fd, std::make_shared<WatchCallback>(std::move(callback))});
  return id;
}

Result<void> EventLoop::Modify(WatchId id, uint32_t events) {
  MutexLock lock(mutex_);
  const auto found = watches_.find(id);
  if (found == watches_.end()) return Fail(ErrorCode::kInvalidArgument, "epoll: no such watch");
  if (found->second.fd < kFirstFd) Armed()[id] = events;
  return {};
}

void EventLoop::Remove(WatchId id) {
  MutexLock lock(mutex_);
  Armed().erase(id);
  watches_.erase(id);
}

EventLoop::TimerId EventLoop::After(Clock::duration delay, std::function<void()> callback) {
  MutexLock lock(mutex_);
  const TimerId id = next_id_++;
  timers_.emplace(id, TimerEntry{Now() + delay, std::move(callback)});
  return id;
}

void EventLoop::Cancel(TimerId id) {
  MutexLock lock(mutex_);
  timers_.erase(id);
}

void EventLoop::Post(std::function<void()> work) {
  MutexLock lock(mutex_);
  posted_.push_back(std::move(work));
}

void EventLoop::Stop() {
  MutexLock lock(mutex_);
  stop_ = true;
}

Result<void> EventLoop::Run() { return RunUntilStopped(); }

Result<void> EventLoop::RunUntilStopped() {
  while (true) {
    std::vector<std::pair<WatchId, uint32_t>> ready;
    std::vector<pollfd> others;
    std::vector<WatchId> ids;
    {
      MutexLock lock(mutex_);
      if (std::exchange(stop_, false)) return {};
      for (const auto& [id, watch] : watches_) {
        if (watch.fd >= kFirstFd) {
          if (SignalsOf(watch.fd) != 0) ready.emplace_back(id, EPOLLIN);
        } else if (const auto armed = Armed().find(id); armed != Armed().end()) {
          others.push_back({watch.fd, static_cast<short>(armed->second), 0});
          ids.push_back(id);
        }
      }
      // libFuzzer has a timer, whose signals end this, too.
      while (::poll(others.data(), others.size(), 0) < 0) CHECK(errno == EINTR);
      for (size_t i = 0; i < others.size(); ++i) {
        if (others[i].revents == 0) continue;
        if ((Armed()[ids[i]] & EPOLLONESHOT) != 0) Armed().erase(ids[i]);
        ready.emplace_back(ids[i], static_cast<uint16_t>(others[i].revents));
      }
      CHECK(!ready.empty() || !posted_.empty());
    }
    Now() += std::chrono::milliseconds(500);
    for (const auto& [id, events] : ready) Dispatch(id, events);
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
      if (next == timers_.end() || next->second.due > Now()) return;
      callback = std::move(next->second.callback);
      timers_.erase(next);
    }
    callback();
  }
}

}  // namespace mayfly
