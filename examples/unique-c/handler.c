// A handler of which no two clones are alike, though they come from one snapshot: each draws an
// identity of its own. Answers every event with the identity, and how many snapshots and restores
// the handler has seen.
#include <mayfly/handler.h>

#include <stdio.h>
#include <sys/random.h>

static uint64_t identity;
static unsigned snapshots;
static unsigned restores;

static int DrawIdentity(void) {
  return getrandom(&identity, sizeof(identity), 0) == sizeof(identity) ? 0 : -1;
}

int mayfly_init(void) { return DrawIdentity(); }

int mayfly_before_snapshot(void) {
  ++snapshots;
  return 0;
}

int mayfly_after_restore(void) {
  ++restores;
  return DrawIdentity();
}

int mayfly_handler(const struct mayfly_event* event, struct mayfly_answer* answer) {
  (void)event;
  char text[64];
  const int size = snprintf(text, sizeof(text), "%016llx %u %u", (unsigned long long)identity,
                            snapshots, restores);
  return mayfly_reply(answer, text, (size_t)size);
}
