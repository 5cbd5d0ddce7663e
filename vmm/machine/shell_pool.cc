#include "vmm/machine/shell_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace mayfly {

ShellPool::ShellPool(const MachineState* state, bool refill, LogSink* log)
    : state_(state), log_(log) {
  if (refill) refiller_ = Thread("shells", [this] { Refill(); });
}

ShellPool::~ShellPool() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  refiller_.Join();
}

Result<void> ShellPool::Fill(size_t count) {
  {
    MutexLock lock(mutex_);
    if (count > kMostShells - wanted_) {
      return Fail(ErrorCode::kTooLarge, fmt::format("shells: {} are the most", kMostShells));
    }
  }
  for (size_t i = 0; i < count; ++i) {
    auto shell = TRY(Shell::Create(*state_));
    MutexLock lock(mutex_);
    shells_.push_back(std::move(shell));
    wanted_ = std::min(wanted_ + 1, kMostShells);
  }
  return {};
}

std::unique_ptr<Shell> ShellPool::Take() {
  MutexLock lock(mutex_);
  if (shells_.empty()) return nullptr;
  std::unique_ptr<Shell> shell = std::move(shells_.front());
  shells_.pop_front();
  changed_.notify_all();
  return shell;
}

size_t ShellPool::available() const {
  MutexLock lock(mutex_);
  return shells_.size();
}

void ShellPool::Refill() {
  while (true) {
    {
      MutexLock lock(mutex_);
      while (!stop_ && shells_.size() >= wanted_) changed_.wait(mutex_);
      if (stop_) return;
    }
    Result<std::unique_ptr<Shell>> shell = Shell::Create(*state_);
    MutexLock lock(mutex_);
    if (shell) {
      shells_.push_back(*std::move(shell));
      continue;
    }
    // A host that has run out of something will not have it back at once: the next shell that is
    // taken, or asked for, is the next attempt.
    if (log_ != nullptr) log_->Write(LogLevel::kWarning, "shells: " + shell.error().message());
    wanted_ = shells_.size();
  }
}

}  // namespace mayfly
