#pragma once

#include <optional>
#include <span>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "guest-init/handler_channel.h"
#include "guest-init/native_protocol.h"

namespace mayfly::init {

// Init's end of the socket to mayfly-handler. The handler shares that process, so what comes out of
// the socket is as untrusted as the handler: a message that is not due, or too long, ends it.
class NativeChannel final : public HandlerChannel {
 public:
  // A type, a message; longer ones are refused.
  static constexpr uint64_t kMaxFailure = uint64_t{64} * 1024;

  static Result<std::unique_ptr<NativeChannel>> Create(UniqueFd socket, EventLoop* loop,
                                                       HandlerObserver* observer);
  ~NativeChannel() override;
  NativeChannel(const NativeChannel&) = delete;
  NativeChannel& operator=(const NativeChannel&) = delete;

  void Deliver(const Invocation& invocation) override;
  [[nodiscard]] bool awaits_restore() const override { return false; }
  bool PrepareSnapshot() override;
  void Restored() override;
  void Drain() override;

 private:
  enum class State { kStarting, kIdle, kRunning, kClosed };
  enum class Hook { kNone, kBeforeSnapshot, kAfterRestore };

  NativeChannel(UniqueFd socket, EventLoop* loop, HandlerObserver* observer)
      : socket_(std::move(socket)), loop_(loop), observer_(observer) {}
  void OnEvents(uint32_t events);
  // False if there is nothing more for now.
  bool ReadSome();
  // False if the message may not come now, or is too long; the observer knows then.
  bool CheckHeader();
  void OnMessage();
  void OnReady(std::span<const uint8_t> payload);
  void CallHook(Hook hook, mayfly_native_type message);
  void OnHookDone();
  void OnFailed();
  void Break(const char* what);
  void WriteSome();
  void Close();

  UniqueFd socket_;
  EventLoop* loop_;
  HandlerObserver* observer_;
  EventLoop::WatchId watch_ = 0;
  State state_ = State::kStarting;
  uint32_t hooks_ = 0;       // That the handler has.
  Hook hook_ = Hook::kNone;  // That it is in; in kIdle, or in kRunning before it takes the event.
  bool preparing_ = false;   // A PrepareSnapshot() waits for the end of hook_.

  // The message that is coming in.
  mayfly_native_header header_{};
  size_t header_bytes_ = 0;
  std::vector<uint8_t> payload_;
  size_t payload_bytes_ = 0;
  std::optional<std::vector<uint8_t>> answer_;

  // The message that is going out: its head, and the event after it.
  std::vector<uint8_t> output_;
  std::shared_ptr<const std::vector<uint8_t>> output_event_;
  size_t output_sent_ = 0;
  bool wants_output_ = false;
};

}  // namespace mayfly::init
