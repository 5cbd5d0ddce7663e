#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "vmm/control/control_channel.h"
#include "vmm/control/log_budget.h"

namespace mayfly {

// What a handler, or its runtime, said went wrong.
struct HandlerError {
  std::string type;  // "Function.Timeout", "Runtime.ExitError", or the handler's own
  std::string message;
  std::string json;  // As the guest sent it, with a stack trace if there is one.
};

// From a guest's error document, which is untrusted: what it lacks has other words for it.
HandlerError ParseHandlerError(std::span<const uint8_t> json);

struct Invocation {
  std::string request_id;
  std::chrono::milliseconds timeout;
};

// Exactly one of answer and error means something: the answer if there is no error.
struct InvocationResult {
  std::vector<uint8_t> answer;
  std::optional<HandlerError> error;
  uint64_t handler_us = 0;  // In the guest, from the event's last byte to the answer's.
  uint64_t max_memory_bytes = 0;
  uint64_t log_dropped_bytes = 0;
  std::chrono::steady_clock::duration total{};  // Here, from the call to the answer's last byte.
};

struct LogChunk {
  uint64_t invocation;  // 0: outside of one
  control::LogStream stream;
  std::string_view text;
};

// One function in one machine, driven over the control channel: load once, invoke any number of
// times, one at a time. One thread. `channel` must outlive it.
class FunctionSession {
 public:
  using LogCallback = std::function<void(const LogChunk&)>;
  // How much longer than the deadline the guest may take to say that it passed.
  static constexpr std::chrono::milliseconds kGrace{100};

  // So many bytes of a guest's log are passed on from the start of an invocation until the next,
  // and of the boot and of Load(); the rest is dropped and counted. An honest init keeps to half of
  // it.
  static constexpr uint64_t kMaxLog = 2 << 20;

  // How long a handler may take until it is ready: Lambda's init limit, and some time to say so.
  static constexpr std::chrono::milliseconds kInitTimeout{12'000};

  FunctionSession(ControlChannel* channel, LogCallback log)
      : channel_(channel), log_(std::move(log)) {}

  // Waits for the guest's init, and checks that it speaks this version of the protocol.
  Result<void> WaitHello(ControlChannel::Clock::time_point deadline);

  // Has init load the function that `description` (JSON) describes, and waits until its handler is
  // ready. kHandler if the handler does not start.
  Result<void> Load(const std::string& description,
                    std::chrono::milliseconds timeout = kInitTimeout);

  // Hands the event to the handler and waits for its answer, until kGrace after its deadline. A
  // failed handler, and a guest that stays silent, is a result with an error in it; an error of
  // this call means that the machine ended or broke the protocol (kGuest). kTooLarge, with nothing
  // sent, if the event exceeds control::kMaxEvent. After either kind the machine is not to be used
  // again.
  Result<InvocationResult> Invoke(std::span<const uint8_t> event, const Invocation& invocation);

  // Takes log lines until `deadline`, or until the channel is woken. kHandler if init reports an
  // error instead.
  Result<void> WaitIdle(ControlChannel::Clock::time_point deadline);
  // Takes the log lines that are here already. The machine is paused, so that they have an end.
  // Errors as of WaitIdle().
  Result<void> TakeRest();

  // Asks init to power off.
  Result<void> Shutdown();

  // What init said of itself in its hello and ready frames.
  [[nodiscard]] const std::string& ready_json() const { return ready_json_; }
  // The handler is ready and takes events only after a snapshot (/runtime/restore/next).
  [[nodiscard]] bool awaits_restore() const { return awaits_restore_; }

 private:
  // False if the frame is none of the log's.
  Result<bool> PassOnLog(const control::Frame& frame);
  // kTimeout also for a guest that has only logged until `deadline`, and goes on with it.
  Result<control::Frame> ReceiveSkippingLogs(ControlChannel::Clock::time_point deadline);
  Result<InvocationResult> ReceiveResult(const Invocation& invocation,
                                         ControlChannel::Clock::time_point start);

  ControlChannel* channel_;
  LogCallback log_;
  LogBudget log_budget_{kMaxLog};
  uint64_t last_invocation_ = 0;
  std::string ready_json_;
  bool awaits_restore_ = false;
};

}  // namespace mayfly
