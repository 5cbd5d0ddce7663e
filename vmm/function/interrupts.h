#pragma once

#include <csignal>

#include "base/result.h"
#include "base/unique_fd.h"

namespace mayfly {

// Holds back SIGINT, SIGTERM and SIGHUP while it lives, for work that has to clean up before it
// ends: the work asks Check() between its steps. SIGXFSZ is held back too, so that a file that
// grows too large is an error of write(2). Belongs to the main thread of a program that has no
// other threads yet.
class Interrupts {
 public:
  static Result<Interrupts> Create();
  Interrupts(Interrupts&& other) noexcept;
  Interrupts& operator=(Interrupts&&) = delete;
  ~Interrupts();

  // kCancelled once a signal has arrived.
  [[nodiscard]] Result<void> Check() const;
  // Readable once a signal has arrived; to be polled, never read.
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Takes the signal that has arrived, so that it is not delivered later; 0 if there is none.
  [[nodiscard]] int Take() const;

 private:
  Interrupts(UniqueFd fd, const sigset_t& old_mask) : fd_(std::move(fd)), old_mask_(old_mask) {}

  UniqueFd fd_;
  sigset_t old_mask_;
};

}  // namespace mayfly
