#pragma once

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

namespace mayfly {

// What is left to move of a list of iovecs, for system calls that move less than they are told to.
class IovecCursor {
 public:
  IovecCursor() = default;
  explicit IovecCursor(std::span<const iovec> iovecs) : rest_(iovecs.begin(), iovecs.end()) {
    SkipEmpty();
  }
  explicit IovecCursor(std::vector<iovec>&& iovecs) : rest_(std::move(iovecs)) { SkipEmpty(); }

  [[nodiscard]] bool done() const { return next_ == rest_.size(); }
  // As many as one system call takes.
  [[nodiscard]] const iovec* data() const { return &rest_[next_]; }
  [[nodiscard]] unsigned count() const {
    return static_cast<unsigned>(std::min<size_t>(rest_.size() - next_, IOV_MAX));
  }

  // `moved` is at most what data() and count() describe.
  void Advance(size_t moved) {
    while (moved > 0) {
      const size_t part = std::min(moved, rest_[next_].iov_len);
      rest_[next_].iov_base = static_cast<uint8_t*>(rest_[next_].iov_base) + part;
      rest_[next_].iov_len -= part;
      moved -= part;
      SkipEmpty();
    }
  }

 private:
  void SkipEmpty() {
    while (next_ < rest_.size() && rest_[next_].iov_len == 0) ++next_;
  }

  std::vector<iovec> rest_;
  size_t next_ = 0;
};

}  // namespace mayfly
