#include "jailer/seccomp.h"

#include <fmt/format.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>

#include "jailer/filter_programs.h"

namespace mayfly {
namespace {

constexpr size_t kStackBytes = 512 << 10;

// Ends its thread when the C library destroys it, before that would block signals, hand back the
// stack and so on: each of these is a system call that a filter would have to allow for ever. The
// kernel still tells whoever joins the thread.
struct ThreadEnd {
  bool armed = false;
  ~ThreadEnd() {
    if (armed) ::syscall(SYS_exit, 0);
  }
};

void EndThreadWithoutEpilogue() {
  if (::gettid() == ::getpid()) return;
  thread_local ThreadEnd end;
  end.armed = true;
}

Result<int> Load(std::span<const sock_filter> program, unsigned flags) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return FailErrno("PR_SET_NO_NEW_PRIVS");
  const sock_fprog request{static_cast<unsigned short>(program.size()),
                           const_cast<sock_filter*>(program.data())};
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &request);
  if (result < 0) return FailErrno("seccomp(SECCOMP_SET_MODE_FILTER)");
  return static_cast<int>(result);
}

}  // namespace

void PrepareForFilters() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_MMAP_MAX, 0);
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, kStackBytes);
  ::pthread_setattr_default_np(&attributes);
  ::pthread_attr_destroy(&attributes);
}

Result<void> ApplyFilter(ThreadKind kind) {
  EndThreadWithoutEpilogue();
  (void)TRY(Load(FilterProgram(kind), 0));
  return {};
}

Result<std::unique_ptr<SeccompLog>> SeccompLog::Create(LogSink* log) {
  EventFd changed = TRY(EventFd::Create());
  std::unique_ptr<SeccompLog> self(new SeccompLog(log, std::move(changed)));
  SeccompLog* const watcher = self.get();
  self->thread_ = Thread("seccomp-log", [watcher] { watcher->Watch(); });
  return self;
}

SeccompLog::~SeccompLog() {
  stop_.store(true);
  changed_.Signal();
  thread_.Join();
}

Result<void> SeccompLog::Apply(ThreadKind kind) {
  EndThreadWithoutEpilogue();
  const auto compiled = FilterProgram(kind);
  std::vector<sock_filter> program(compiled.begin(), compiled.end());
  for (sock_filter& step : program) {
    if (step.code == (BPF_RET | BPF_K) && step.k == SECCOMP_RET_KILL_PROCESS) {
      step.k = SECCOMP_RET_USER_NOTIF;
    }
  }
  UniqueFd listener(TRY(Load(program, SECCOMP_FILTER_FLAG_NEW_LISTENER)));
  {
    MutexLock lock(mutex_);
    new_.push_back({kind, std::move(listener)});
  }
  changed_.Signal();
  return {};
}

void SeccompLog::Watch() {
  std::vector<Listener> listeners;
  while (!stop_.load()) {
    std::vector<pollfd> events{{changed_.fd(), POLLIN, 0}};
    for (const Listener& listener : listeners) events.push_back({listener.fd.get(), POLLIN, 0});
    if (::poll(events.data(), events.size(), -1) < 0) continue;
    for (size_t i = listeners.size(); i > 0; --i) {
      const short happened = events[i].revents;
      if ((happened & POLLIN) != 0) {
        Answer(listeners[i - 1]);
      } else if (happened != 0) {  // Its threads are gone.
        listeners.erase(listeners.begin() + static_cast<ptrdiff_t>(i - 1));
      }
    }
    if (changed_.Clear()) {
      MutexLock lock(mutex_);
      std::ranges::move(new_, std::back_inserter(listeners));
      new_.clear();
    }
  }
}

void SeccompLog::Answer(const Listener& listener) {
  seccomp_notif call{};
  if (::ioctl(listener.fd.get(), SECCOMP_IOCTL_NOTIF_RECV, &call) != 0) return;
  const std::pair key(listener.kind, call.data.nr);
  if (std::ranges::find(seen_, key) == seen_.end()) {
    seen_.push_back(key);
    log_->Write(LogLevel::kWarning,
                fmt::format("seccomp: a {} thread calls {} with {:#x} {:#x} {:#x} {:#x}, which its "
                            "filter does not allow",
                            NameOf(listener.kind), SystemCallName(call.data.nr), call.data.args[0],
                            call.data.args[1], call.data.args[2], call.data.args[3]));
  }
  seccomp_notif_resp answer{};
  answer.id = call.id;
  answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ::ioctl(listener.fd.get(), SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

}  // namespace mayfly
