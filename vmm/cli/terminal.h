#pragma once

#include <termios.h>

#include <memory>

#include "base/event_fd.h"
#include "base/thread.h"
#include "base/unique_fd.h"

namespace mayfly {

// Puts standard input back as it was: for whoever starts a Terminal in another process, which may
// not come to its end.
class SavedTerminal {
 public:
  SavedTerminal();
  SavedTerminal(const SavedTerminal&) = delete;
  SavedTerminal& operator=(const SavedTerminal&) = delete;
  ~SavedTerminal();

 private:
  bool is_terminal_ = false;
  termios saved_{};
};

// The user's side of a guest's console: standard input as it is typed, without the escape sequence.
// If standard input is a terminal, it is in raw mode as long as this lives: Ctrl-C goes to the
// guest, and Ctrl-A x ends the machine; Ctrl-A Ctrl-A sends one Ctrl-A.
class Terminal {
 public:
  // `on_start`, if there is one, is called first in the thread that reads.
  static Result<std::unique_ptr<Terminal>> Create(std::function<void()> on_escape,
                                                  std::function<void()> on_start = {});
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal();

  // Where the guest's input comes out; non-blocking.
  [[nodiscard]] int input_fd() const { return from_user_.get(); }

 private:
  Terminal(UniqueFd from_user, UniqueFd to_guest, EventFd stop, std::function<void()> on_escape);
  void Pump();

  UniqueFd from_user_;
  UniqueFd to_guest_;
  EventFd stop_;
  std::function<void()> on_escape_;
  bool is_terminal_ = false;
  termios saved_{};
  Thread thread_;
};

}  // namespace mayfly
