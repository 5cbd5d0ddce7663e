#pragma once

// What mayfly-init and mayfly-handler, the program that loads a native handler, say to each other
// over a Unix stream socket. C, because mayfly-handler is; both come from the same build, and the
// version is checked anyway. All integers are little-endian.
//
//   handler                                 init
//   READY {mayfly_native_ready} or FAILED   ->
//                                           <-   INVOKE {mayfly_native_invoke, strings, event}
//   ANSWER {bytes}  at most once            ->
//   FAILED {mayfly_native_error, …}         ->        or
//   DONE                                    ->        ends a successful invocation
//                                           <-   BEFORE_SNAPSHOT or AFTER_RESTORE, if READY names
//                                           it
//   HOOK_DONE or FAILED                     ->
//
// An INVOKE may follow an AFTER_RESTORE at once.

#include <stdint.h>

#define MAYFLY_NATIVE_VERSION 2u
// The descriptor on which mayfly-handler finds its end.
#define MAYFLY_NATIVE_FD 3

enum mayfly_native_type {
  MAYFLY_NATIVE_READY = 1,
  MAYFLY_NATIVE_INVOKE = 2,
  MAYFLY_NATIVE_ANSWER = 3,
  MAYFLY_NATIVE_FAILED = 4,
  MAYFLY_NATIVE_DONE = 5,
  MAYFLY_NATIVE_BEFORE_SNAPSHOT = 6,
  MAYFLY_NATIVE_AFTER_RESTORE = 7,
  MAYFLY_NATIVE_HOOK_DONE = 8,
};

// What a handler has besides its handler: bits of READY.
enum mayfly_native_hook {
  MAYFLY_NATIVE_HAS_BEFORE_SNAPSHOT = 1,
  MAYFLY_NATIVE_HAS_AFTER_RESTORE = 2,
};

// In front of every message; `length` bytes follow.
struct mayfly_native_header {
  uint32_t type;
  uint32_t reserved;  // 0
  uint64_t length;
};

// A READY.
struct mayfly_native_ready {
  uint32_t version;  // MAYFLY_NATIVE_VERSION
  uint32_t hooks;    // mayfly_native_hook
};

// In front of an INVOKE: the strings, without NULs, then the event.
struct mayfly_native_invoke {
  uint64_t deadline_ms;
  uint32_t request_id_length;
  uint32_t trace_id_length;
  uint32_t client_context_length;
  uint32_t reserved;  // 0
};

// In front of a FAILED: type and message, without NULs.
struct mayfly_native_error {
  uint32_t type_length;
  uint32_t message_length;
};
