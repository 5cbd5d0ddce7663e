#pragma once

#include <deque>
#include <functional>

#include "base/control_protocol.h"
#include "base/event_loop.h"
#include "base/unique_fd.h"

namespace mayfly::init {

// Init's end of the control channel, on any stream descriptor. Frames that do not fit into it wait
// in a queue: one answer, and log lines as long as queued() is low (LogPump sees to that).
class ControlChannel {
 public:
  using FrameCallback = std::function<void(control::Frame)>;
  // Called once, with why. Nothing more is sent or received then.
  using ClosedCallback = std::function<void(const Error&)>;

  // The stream to the VMM: port control::kPort of the host.
  static Result<UniqueFd> ConnectVsock();
  // A debugging aid (mayfly.control=PATH): a serial line or the like, set to raw mode.
  static Result<UniqueFd> OpenDevice(const std::string& path);

  // `stream` is made non-blocking; `loop` must outlive the channel.
  static Result<std::unique_ptr<ControlChannel>> Create(UniqueFd stream, EventLoop* loop);
  ~ControlChannel();
  ControlChannel(const ControlChannel&) = delete;
  ControlChannel& operator=(const ControlChannel&) = delete;

  void SetCallbacks(FrameCallback on_frame, ClosedCallback on_closed);

  // `payload` is at most control::kMaxPayload.
  void Send(control::FrameType type, uint64_t invocation, std::span<const uint8_t> payload);
  // As kChunk frames, as many as it takes; none for no bytes. Takes the bytes instead of copying
  // them, because there may be six megabytes.
  void SendChunks(uint64_t invocation, std::vector<uint8_t> bytes);

  // Bytes that the host has not taken yet.
  [[nodiscard]] size_t queued() const { return queued_; }
  // Called when the queue has become empty.
  void SetDrainedCallback(std::function<void()> on_drained) { on_drained_ = std::move(on_drained); }
  // Waits until the host has taken everything; false if `limit` has passed before.
  bool Flush(std::chrono::milliseconds limit);

 private:
  struct Item {
    control::FrameType type;
    uint64_t invocation;
    std::vector<uint8_t> bytes;
    size_t sent = 0;
  };

  ControlChannel(UniqueFd stream, EventLoop* loop) : stream_(std::move(stream)), loop_(loop) {}
  void OnEvents(uint32_t events);
  void ReadSome();
  void WriteSome();
  // Makes current_ the next frame; false if there is none.
  bool NextFrame();
  void Close(const Error& why);

  UniqueFd stream_;
  EventLoop* loop_;
  EventLoop::WatchId watch_ = 0;
  FrameCallback on_frame_;
  ClosedCallback on_closed_;
  std::function<void()> on_drained_;
  control::FrameReader reader_;
  std::deque<Item> queue_;
  size_t queued_ = 0;
  std::vector<uint8_t> current_;
  size_t current_sent_ = 0;
  bool wants_output_ = false;
  bool closed_ = false;
};

}  // namespace mayfly::init
