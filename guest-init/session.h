#pragma once

#include <memory>
#include <optional>

#include "guest-init/child_reaper.h"
#include "guest-init/control_channel.h"
#include "guest-init/handler_channel.h"
#include "guest-init/log_pump.h"
#include "guest-init/platform.h"

namespace mayfly::init {

// The life of one function in one machine, driven by the host's frames:
//
//   kHello ─▶ kLoading ─kLoad─▶ kStarting ─ready─▶ kIdle ─kInvoke─▶ kReceiving ─event whole─▶
//   kRunning
//                                   │                ▲                  │                         │
//                                   │                └──────────────────┼──answer, handler error──┤
//                                   ▼                                   ▼                         │
//                                kFailed ◀────────── deadline, exit, out of memory ◀──────────────┘
//
// In kIdle a kSnapshot takes it through kPreparing and the snapshot point: the same session goes on
// in each life of the snapshot, in kIdle or, if the host has more to say to this life, in
// kRestoring until kRestore.
//
// Every invocation ends in exactly one kDone or kError. In kFailed there is no handler any more,
// and each kInvoke is answered with the error that ended it. One thread, the loop's.
class Session final : public HandlerObserver {
 public:
  // All pointers are borrowed and outlive the session. Says hello at once.
  Session(EventLoop* loop, ControlChannel* channel, ChildReaper* reaper, Platform* platform);
  ~Session() override;
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Makes a line of init's own a frame for the host.
  void Log(std::string_view line);

  void OnHandlerReady() override;
  void OnHandlerPrepared() override;
  void OnHandlerAnswer(std::vector<uint8_t> answer) override;
  void OnHandlerError(HandlerError error) override;
  void OnHandlerGone() override;

 private:
  enum class State {
    kLoading,
    kStarting,
    kIdle,
    kReceiving,
    kRunning,
    kPreparing,
    kRestoring,
    kFailed,
    kEnded,
  };

  void OnFrame(const control::Frame& frame);
  void OnLoad(std::span<const uint8_t> payload);
  Result<void> StartHandler();
  void OnInvoke(const control::Frame& frame);
  void OnChunk(const control::Frame& frame);
  void DeliverEvent();
  void OnSnapshot();
  void PassSnapshotPoint();
  // Leaves nothing under way but the snapshot.
  Result<void> Quiesce();
  void OnRestore(std::span<const uint8_t> payload);
  // Lets the handler run again.
  void Resume(const std::vector<NetworkInterface>& network);
  // This life cannot begin.
  void FailRestore(const Error& why);
  void OnProtocolError(const char* what);
  void OnExit(const HandlerProcess::Exit& exit);
  void OnDeadline();
  void OnTooMuchOutput();
  // Ends the handler, and with it what runs: the host gets `error` for it.
  void FailMachine(HandlerError error);
  void SendError(uint64_t invocation, const HandlerError& error);
  // Of the invocation that runs or, before there was one, 0.
  [[nodiscard]] uint64_t current() const { return invocation_ ? invocation_->id : 0; }
  [[nodiscard]] bool busy() const {
    return state_ == State::kReceiving || state_ == State::kRunning;
  }
  // Something is under way that ends in a frame for the host.
  [[nodiscard]] bool host_waits() const {
    return busy() || state_ == State::kLoading || state_ == State::kStarting ||
           state_ == State::kPreparing || state_ == State::kRestoring;
  }
  Usage MeasureUsage();
  void Kill();
  void End(std::string_view why);
  void SetDeadline(uint32_t milliseconds);
  void ClearDeadline();

  EventLoop* loop_;
  ControlChannel* channel_;
  ChildReaper* reaper_;
  Platform* platform_;
  State state_ = State::kLoading;
  Function function_;
  std::unique_ptr<HandlerChannel> handler_;
  std::unique_ptr<HandlerProcess> process_;
  LogPump logs_;
  // Set while an event is taken in or worked on.
  std::optional<Invocation> invocation_;
  std::vector<uint8_t> event_;
  uint64_t event_size_ = 0;
  std::optional<HandlerError> failure_;
  EventLoop::TimerId deadline_ = 0;
  EventLoop::TimerId gone_ = 0;
  uint32_t deadline_ms_ = 0;
  EventLoop::Clock::time_point started_;
};

}  // namespace mayfly::init
