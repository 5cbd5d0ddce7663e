#pragma once

#include <memory>

#include "base/event_loop.h"
#include "devices/legacy/serial.h"

namespace mayfly {

// Moves bytes from a descriptor to a serial port, as fast as the guest reads them. Works on the
// loop's thread; all pointers and the descriptor are borrowed.
class SerialInput {
 public:
  static Result<std::unique_ptr<SerialInput>> Create(int fd, Serial* serial, EventLoop* loop);
  SerialInput(const SerialInput&) = delete;
  SerialInput& operator=(const SerialInput&) = delete;

 private:
  SerialInput(int fd, Serial* serial, EventLoop* loop) : fd_(fd), serial_(serial), loop_(loop) {}
  void Move();
  void SetInterest(uint32_t events);

  const int fd_;
  Serial* const serial_;
  EventLoop* const loop_;
  EventLoop::WatchId watch_ = 0;
  bool paused_ = false;
};

}  // namespace mayfly
