#pragma once

#include <unistd.h>

#include <utility>

#include "base/result.h"

namespace mayfly {

// Owns one file descriptor and closes it. Taken by value means the callee owns it from then on; a
// plain int is borrowed. There is no conversion to int or bool: descriptor 0 is a valid one.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) Reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { Reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] int Release() { return std::exchange(fd_, -1); }
  void Reset(int fd = -1) {
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
  }

  // A second descriptor for the same open file, close-on-exec.
  [[nodiscard]] Result<UniqueFd> Duplicate() const;

 private:
  int fd_ = -1;
};

}  // namespace mayfly
