#include "base/thread.h"

#include <pthread.h>
#include <sys/prctl.h>

#include <csignal>

namespace mayfly {

Thread::Thread(std::string name, std::function<void()> body) {
  // A new thread inherits the mask, so it is blocked here rather than in the thread, where a
  // signal could still come first.
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  // What a thread raises by its own fault ends the process if it is blocked, handler or not.
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL}) sigdelset(&all, fault);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  thread_ = std::thread([name = std::move(name), body = std::move(body)] {
    ::prctl(PR_SET_NAME, name.c_str(), 0, 0, 0);
    body();
  });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

Thread& Thread::operator=(Thread&& other) noexcept {
  if (this != &other) {
    Join();
    thread_ = std::move(other.thread_);
  }
  return *this;
}

void Thread::Join() {
  if (thread_.joinable()) thread_.join();
}

}  // namespace mayfly
