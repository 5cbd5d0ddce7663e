#pragma once

#include <condition_variable>
#include <mutex>

// Clang's thread-safety annotations; they mean nothing to g++.
#if defined(__clang__)
#define MAYFLY_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define MAYFLY_THREAD_ANNOTATION(x)
#endif

#define GUARDED_BY(mutex) MAYFLY_THREAD_ANNOTATION(guarded_by(mutex))
#define REQUIRES(mutex) MAYFLY_THREAD_ANNOTATION(requires_capability(mutex))
#define EXCLUDES(mutex) MAYFLY_THREAD_ANNOTATION(locks_excluded(mutex))

namespace mayfly {

// std::mutex with annotations: the analysis checks that what is GUARDED_BY it is touched only
// while it is held.
class MAYFLY_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() MAYFLY_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() MAYFLY_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class MAYFLY_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) MAYFLY_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() MAYFLY_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits on a Mutex that the caller holds.
using ConditionVariable = std::condition_variable_any;

}  // namespace mayfly
