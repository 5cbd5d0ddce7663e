#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mayfly::init {

struct Invocation {
  uint64_t id = 0;
  std::string request_id;
  std::string trace_id;
  std::string client_context;
  std::string cognito_identity;
  std::string function_arn;
  uint64_t deadline_ms = 0;  // Since the epoch, by the guest's clock.
  uint32_t timeout_ms = 0;
  // Shared between the session and the answers to a runtime that asks for it more than once.
  std::shared_ptr<const std::vector<uint8_t>> event;
};

struct HandlerError {
  std::string type;
  std::string message;
  std::string stack_trace = {};  // A JSON array of strings, or empty.
  // The error document exactly as the handler wrote it, or empty.
  std::vector<uint8_t> document = {};
  // The handler is still there and can take another event.
  bool reusable = false;
};

// What a handler's side tells the session. Calls come on the loop's thread, never from within a
// call of the session's to the channel.
class HandlerObserver {
 public:
  virtual ~HandlerObserver() = default;
  virtual void OnHandlerReady() = 0;
  // Ends a PrepareSnapshot() that has not returned true.
  virtual void OnHandlerPrepared() = 0;
  virtual void OnHandlerAnswer(std::vector<uint8_t> answer) = 0;
  virtual void OnHandlerError(HandlerError error) = 0;
  // It cannot be reached any more, though its process may still be there.
  virtual void OnHandlerGone() = 0;
};

// One way of talking to a handler process: the native protocol or the Runtime API.
class HandlerChannel {
 public:
  virtual ~HandlerChannel() = default;
  // Hands over an event. The previous one was answered.
  virtual void Deliver(const Invocation& invocation) = 0;
  // True if the handler takes no event before it was restored from a snapshot.
  [[nodiscard]] virtual bool awaits_restore() const = 0;
  // Brings the handler to where it can be snapshotted. True if it is there; otherwise
  // OnHandlerPrepared() or OnHandlerError() follows.
  virtual bool PrepareSnapshot() = 0;
  // Tells the handler that another life of its machine has begun. Events can be delivered at once.
  virtual void Restored() = 0;
  // Takes what a handler that has ended wrote before its end.
  virtual void Drain() = 0;
};

}  // namespace mayfly::init
