#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// A non-blocking eventfd: Signal() from any thread, Clear() by whoever waits for it.
class EventFd {
 public:
  static Result<EventFd> Create();

  void Signal() const;
  // Takes all signals at once; false if there was none.
  bool Clear() const { return Take() != 0; }
  // The same, and how many there were.
  [[nodiscard]] uint64_t Take() const;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  explicit EventFd(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace mayfly
