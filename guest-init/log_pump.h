#pragma once

#include <array>
#include <functional>

#include "base/event_loop.h"
#include "guest-init/control_channel.h"

namespace mayfly::init {

// Carries the handler's standard output and error from two pipes into kLog frames, whole lines
// where it can, tagged with the invocation that runs. Three caps keep a handler that writes without
// end from hurting anybody: kMaxForwarded goes to the host, what exceeds it is counted, and above
// kMaxOutput the owner is told to end the handler. While the host does not take what was sent, the
// pipes are not read, so the handler waits.
class LogPump {
 public:
  static constexpr uint64_t kMaxForwarded = 1 << 20;
  static constexpr uint64_t kMaxOutput = 16 << 20;
  static constexpr size_t kMaxLine = size_t{16} * 1024;
  static constexpr size_t kMaxQueued = size_t{256} * 1024;

  LogPump(EventLoop* loop, ControlChannel* channel, std::function<void()> on_too_much)
      : loop_(loop), channel_(channel), on_too_much_(std::move(on_too_much)) {}
  ~LogPump();
  LogPump(const LogPump&) = delete;
  LogPump& operator=(const LogPump&) = delete;

  // Takes the reading ends of the handler's pipes, non-blocking ones.
  Result<void> Start(UniqueFd output, UniqueFd error);

  // From here on output belongs to `invocation` (0: to none) and is counted from zero.
  void Begin(uint64_t invocation);
  // Takes what is in the pipes now, the last unfinished lines too.
  void Drain();
  // Goes on reading if the host was too slow before.
  void Resume();

  // Bytes of this invocation's output that were not forwarded.
  [[nodiscard]] uint64_t dropped() const { return dropped_; }

 private:
  struct Stream {
    control::LogStream tag;
    UniqueFd pipe = UniqueFd();
    EventLoop::WatchId watch = 0;
    std::vector<uint8_t> line = {};  // The beginning of a line without its end, below kMaxLine.
  };

  Result<void> Watch(Stream& stream);
  void Pause();
  // False if the pipe is empty or has ended.
  bool ReadSome(Stream& stream);
  void Forward(Stream& stream, std::span<const uint8_t> bytes);
  void SendFrame(control::LogStream tag, std::span<const uint8_t> text);
  void FlushLine(Stream& stream);
  void End(Stream& stream);

  EventLoop* loop_;
  ControlChannel* channel_;
  std::function<void()> on_too_much_;
  std::array<Stream, 2> streams_{Stream{control::LogStream::kStdout},
                                 Stream{control::LogStream::kStderr}};
  uint64_t invocation_ = 0;
  uint64_t read_ = 0;
  uint64_t forwarded_ = 0;
  uint64_t dropped_ = 0;
  bool paused_ = false;
};

}  // namespace mayfly::init
