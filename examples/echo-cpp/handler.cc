// Answers every event with the event; an empty one is an error of its own.
#include <mayfly/handler.hpp>

namespace {

std::string Handle(const mayfly::Event& event) {
  if (event.data.empty()) throw mayfly::HandlerFailure("Function.EmptyEvent", "nothing to echo");
  return std::string(event.data);
}

}  // namespace

MAYFLY_HANDLER(Handle)
