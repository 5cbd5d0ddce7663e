/*
 * mayfly's C handler ABI, version 1. A native function is a shared object that defines
 * mayfly_handler(); mayfly loads it into a process of its own inside the machine and calls it once
 * for every event, one at a time, on one thread. C11 and later, C++ through mayfly/handler.hpp.
 *
 *     #include <mayfly/handler.h>
 *
 *     int mayfly_handler(const struct mayfly_event *event, struct mayfly_answer *answer) {
 *       return mayfly_reply(answer, event->data, event->size);
 *     }
 *
 *     cc -shared -fPIC -o handler.so handler.c
 */
#ifndef MAYFLY_HANDLER_H
#define MAYFLY_HANDLER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MAYFLY_ABI_VERSION 1u
#define MAYFLY_EXPORT __attribute__((visibility("default")))

/* Tells the loader which ABI the object was compiled for. Defined by including this file. */
extern MAYFLY_EXPORT __attribute__((weak)) const uint32_t mayfly_abi_version;
const uint32_t mayfly_abi_version = MAYFLY_ABI_VERSION;

/* An event. Everything in it is valid until the handler returns. Strings end with a NUL. */
struct mayfly_event {
  const char* request_id;
  const char* trace_id;       /* "" if there is none */
  const char* client_context; /* "" if there is none */
  uint64_t deadline_ms;       /* since the epoch; the handler is killed then */
  const uint8_t* data;
  size_t size;
};

struct mayfly_answer;

/* What a handler can do with its answer. Later versions add members at the end. */
struct mayfly_answer_functions {
  int (*reply)(struct mayfly_answer* answer, const void* data, size_t size);
  int (*fail)(struct mayfly_answer* answer, const char* type, const char* message);
};

struct mayfly_answer {
  const struct mayfly_answer_functions* functions;
};

/*
 * Answers the event with `size` bytes, at most 6 MiB; they are taken before this returns. Returns
 * 0. A second call for the same event returns -1, and the invocation fails with
 * Runtime.DuplicateAnswer, because one of the two answers would be lost.
 */
static inline int mayfly_reply(struct mayfly_answer* answer, const void* data, size_t size) {
  return answer->functions->reply(answer, data, size);
}

/*
 * Makes the invocation fail with this error type ("Function.OrderNotFound") and message (UTF-8, at
 * most 256 bytes and 4 KiB; longer ones are cut), whatever was or will be replied. Returns 0, or -1
 * if there was such a call before. The handler can be called again afterwards.
 */
static inline int mayfly_fail(struct mayfly_answer* answer, const char* type, const char* message) {
  return answer->functions->fail(answer, type, message);
}

/*
 * The handler. 0: done; the answer is what was replied, or empty. Anything else: the invocation
 * fails, with what mayfly_fail() was told or with Function.Error.
 */
MAYFLY_EXPORT int mayfly_handler(const struct mayfly_event* event, struct mayfly_answer* answer);

/*
 * Optional: called once, before the first event. Anything but 0 fails the start with
 * Runtime.InitError.
 */
MAYFLY_EXPORT int mayfly_init(void);

/*
 * Optional: called before a snapshot of the machine is taken, between two events. Connections that
 * no clone can go on with are best closed here. Anything but 0: there is no snapshot, and the
 * machine fails with Runtime.BeforeSnapshotError.
 */
MAYFLY_EXPORT int mayfly_before_snapshot(void);

/*
 * Optional: called in each life of the snapshot, before its first event and in that event's time.
 * What must differ between clones (connections, random seeds, ids, times) belongs here; the
 * kernel's random numbers and clock are this life's own by then. Anything but 0: the handler ends
 * and the event fails with Runtime.AfterRestoreError.
 */
MAYFLY_EXPORT int mayfly_after_restore(void);

#ifdef __cplusplus
}
#endif

#endif /* MAYFLY_HANDLER_H */
