// Answers every event with the event.
#include <mayfly/handler.h>

int mayfly_handler(const struct mayfly_event* event, struct mayfly_answer* answer) {
  return mayfly_reply(answer, event->data, event->size);
}
