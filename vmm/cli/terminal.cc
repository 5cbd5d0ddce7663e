#include "vmm/cli/terminal.h"

#include <fcntl.h>
#include <poll.h>

#include <array>
#include <vector>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint8_t kEscape = 0x01;  // Ctrl-A

}  // namespace

SavedTerminal::SavedTerminal()
    : is_terminal_(::isatty(STDIN_FILENO) == 1 && ::tcgetattr(STDIN_FILENO, &saved_) == 0) {}

SavedTerminal::~SavedTerminal() {
  if (is_terminal_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
}

Result<std::unique_ptr<Terminal>> Terminal::Create(std::function<void()> on_escape,
                                                   std::function<void()> on_start) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return FailErrno("pipe");
  UniqueFd from_user(ends[0]);
  UniqueFd to_guest(ends[1]);
  if (::fcntl(from_user.get(), F_SETFL, O_NONBLOCK) != 0 ||
      ::fcntl(to_guest.get(), F_SETFL, O_NONBLOCK) != 0) {
    return FailErrno("fcntl(O_NONBLOCK)");
  }
  EventFd stop = TRY(EventFd::Create());
  std::unique_ptr<Terminal> self(new Terminal(std::move(from_user), std::move(to_guest),
                                              std::move(stop), std::move(on_escape)));
  Terminal* const terminal = self.get();
  self->thread_ = Thread("terminal", [terminal, on_start = std::move(on_start)] {
    if (on_start) on_start();
    terminal->Pump();
  });
  return self;
}

Terminal::Terminal(UniqueFd from_user, UniqueFd to_guest, EventFd stop,
                   std::function<void()> on_escape)
    : from_user_(std::move(from_user)),
      to_guest_(std::move(to_guest)),
      stop_(std::move(stop)),
      on_escape_(std::move(on_escape)) {
  if (::isatty(STDIN_FILENO) == 1 && ::tcgetattr(STDIN_FILENO, &saved_) == 0) {
    is_terminal_ = true;
    termios raw = saved_;
    ::cfmakeraw(&raw);
    // Output keeps its translation: mayfly's own messages go to the same terminal.
    raw.c_oflag = saved_.c_oflag;
    ::tcsetattr(STDIN_FILENO, TCSANOW, &raw);
  }
}

Terminal::~Terminal() {
  stop_.Signal();
  thread_.Join();
  if (is_terminal_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_);
}

void Terminal::Pump() {
  std::array<pollfd, 2> events{{{STDIN_FILENO, POLLIN, 0}, {stop_.fd(), POLLIN, 0}}};
  std::array<uint8_t, 256> typed;
  bool after_escape = false;
  while (true) {
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) return;
    if (events[1].revents != 0) return;
    if (events[0].revents == 0) continue;
    const ssize_t count = ::read(STDIN_FILENO, typed.data(), typed.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    std::vector<uint8_t> to_send;
    for (const uint8_t byte : std::span(typed).first(static_cast<size_t>(count))) {
      if (is_terminal_ && !after_escape && byte == kEscape) {
        after_escape = true;
        continue;
      }
      if (after_escape && byte == 'x') {
        on_escape_();
        return;
      }
      after_escape = false;
      to_send.push_back(byte);
    }
    // The pipe holds 64 KiB; a guest that does not read its console loses what is typed beyond.
    [[maybe_unused]] const ssize_t sent = ::write(to_guest_.get(), to_send.data(), to_send.size());
  }
}

}  // namespace mayfly
