#include "vmm/machine/serial_input.h"

#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace mayfly {

Result<std::unique_ptr<SerialInput>> SerialInput::Create(int fd, Serial* serial, EventLoop* loop) {
  std::unique_ptr<SerialInput> input(new SerialInput(fd, serial, loop));
  input->watch_ = TRY(loop->Watch(fd, EPOLLIN, [self = input.get()](uint32_t) { self->Move(); }));
  serial->OnDrained([self = input.get()] {
    self->loop_->Post([self] {
      if (!self->paused_) return;
      self->paused_ = false;
      self->SetInterest(EPOLLIN);
    });
  });
  return input;
}

void SerialInput::SetInterest(uint32_t events) {
  // Rather no more input than a loop that is woken for ever.
  if (!loop_->Modify(watch_, events)) loop_->Remove(watch_);
}

void SerialInput::Move() {
  std::array<uint8_t, Serial::kFifoSize> bytes;
  const size_t room = serial_->room();
  if (room == 0) {
    // Not to be woken again before the guest has read something.
    paused_ = true;
    SetInterest(0);
    return;
  }
  // As in EventFd::Take().
  const iovec to{bytes.data(), std::min(room, bytes.size())};
  const ssize_t count = ::preadv2(fd_, &to, 1, -1, 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (count <= 0) {
    loop_->Remove(watch_);
    return;
  }
  // Only this thread adds, so there is still room.
  serial_->Enqueue(std::span(bytes).first(static_cast<size_t>(count)));
}

}  // namespace mayfly
