// mayfly's handler ABI for C++: a function from event to answer, whose exceptions become errors.
//
//     #include <mayfly/handler.hpp>
//
//     static std::string Handle(const mayfly::Event& event) { return std::string(event.data); }
//     MAYFLY_HANDLER(Handle)
#ifndef MAYFLY_HANDLER_HPP
#define MAYFLY_HANDLER_HPP

#include <mayfly/handler.h>

#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>

namespace mayfly {

// Valid until the handler returns.
struct Event {
  std::string_view request_id;
  std::string_view trace_id;
  std::string_view client_context;
  uint64_t deadline_ms;
  std::string_view data;
};

// Thrown by a handler to fail the invocation with an error type of its own.
class HandlerFailure : public std::runtime_error {
 public:
  HandlerFailure(std::string type, const std::string& message)
      : std::runtime_error(message), type_(std::move(type)) {}
  const std::string& type() const { return type_; }

 private:
  std::string type_;
};

// What MAYFLY_HANDLER calls.
template <class Function>
int CallHandler(Function&& function, const mayfly_event* event, mayfly_answer* answer) noexcept {
  try {
    const std::string reply =
        function(Event{event->request_id,
                       event->trace_id,
                       event->client_context,
                       event->deadline_ms,
                       {reinterpret_cast<const char*>(event->data), event->size}});
    return mayfly_reply(answer, reply.data(), reply.size());
  } catch (const HandlerFailure& failure) {
    mayfly_fail(answer, failure.type().c_str(), failure.what());
  } catch (const std::bad_alloc&) {
    mayfly_fail(answer, "Function.OutOfMemory", "out of memory");
  } catch (const std::exception& exception) {
    mayfly_fail(answer, "Function.Error", exception.what());
  } catch (...) {
    mayfly_fail(answer, "Function.Error", "an exception that is no std::exception");
  }
  return 1;
}

}  // namespace mayfly

// Makes `function`, std::string(const mayfly::Event&), the shared object's handler.
#define MAYFLY_HANDLER(function)                                                    \
  extern "C" int mayfly_handler(const mayfly_event* event, mayfly_answer* answer) { \
    return ::mayfly::CallHandler(function, event, answer);                          \
  }

#endif  // MAYFLY_HANDLER_HPP
