// mayfly-handler: loads a native handler and calls it for every event that mayfly-init sends. It
// runs inside the function's root, as the function's user, and needs nothing there but the C
// library.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "guest-init/include/mayfly/handler.h"
#include "guest-init/native_protocol.h"

// Exit statuses for what cannot be said over the socket, because it is gone.
enum { kExitUsage = 64, kExitSocket = 74 };

// What the shared object defines; the hooks are NULL if it has none.
struct functions {
  int (*handler)(const struct mayfly_event*, struct mayfly_answer*);
  int (*before_snapshot)(void);
  int (*after_restore)(void);
};

// A mayfly_answer with what belongs to it.
struct invocation {
  struct mayfly_answer answer;
  bool replied;
  bool replied_twice;
  char* failure_type;  // malloc()ed, set by Fail()
  char* failure_message;
};

static void WriteAll(struct iovec* pieces, int count) {
  while (count > 0) {
    struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(MAYFLY_NATIVE_FD, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) _exit(kExitSocket);
    while (count > 0 && (size_t)sent >= pieces->iov_len) {
      sent -= (ssize_t)pieces->iov_len;
      ++pieces;
      --count;
    }
    if (count > 0) {
      pieces->iov_base = (char*)pieces->iov_base + sent;
      pieces->iov_len -= (size_t)sent;
    }
  }
}

static void ReadAll(void* to, size_t size) {
  while (size > 0) {
    const ssize_t count = recv(MAYFLY_NATIVE_FD, to, size, 0);
    if (count < 0 && errno == EINTR) continue;
    // Init has closed its end: there is nobody to work for.
    if (count == 0) _exit(0);
    if (count < 0) _exit(kExitSocket);
    to = (char*)to + count;
    size -= (size_t)count;
  }
}

static void Send(enum mayfly_native_type type, const void* data, size_t size) {
  struct mayfly_native_header header = {.type = type, .length = size};
  struct iovec pieces[2] = {{&header, sizeof(header)}, {(void*)data, size}};
  WriteAll(pieces, 2);
}

static void SendFailure(const char* type, const char* message) {
  enum { kMaxType = 256, kMaxMessage = 4096 };
  const struct mayfly_native_error lengths = {
      .type_length = (uint32_t)strnlen(type, kMaxType),
      .message_length = (uint32_t)strnlen(message, kMaxMessage)};
  struct mayfly_native_header header = {
      .type = MAYFLY_NATIVE_FAILED,
      .length = sizeof(lengths) + lengths.type_length + lengths.message_length};
  struct iovec pieces[4] = {{&header, sizeof(header)},
                            {(void*)&lengths, sizeof(lengths)},
                            {(void*)type, lengths.type_length},
                            {(void*)message, lengths.message_length}};
  WriteAll(pieces, 4);
}

static _Noreturn void FailAndExit(const char* type, const char* message) {
  SendFailure(type, message);
  exit(1);
}

static int Reply(struct mayfly_answer* answer, const void* data, size_t size) {
  struct invocation* invocation = (struct invocation*)answer;
  if (invocation->replied) {
    invocation->replied_twice = true;
    return -1;
  }
  invocation->replied = true;
  Send(MAYFLY_NATIVE_ANSWER, data, size);
  return 0;
}

// Only kept: the invocation ends when the handler returns.
static int Fail(struct mayfly_answer* answer, const char* type, const char* message) {
  struct invocation* invocation = (struct invocation*)answer;
  if (invocation->failure_type != NULL) return -1;
  invocation->failure_type = strdup(type == NULL || *type == '\0' ? "Function.Error" : type);
  invocation->failure_message = strdup(message == NULL ? "" : message);
  if (invocation->failure_type == NULL || invocation->failure_message == NULL) abort();
  return 0;
}

static const struct mayfly_answer_functions kAnswerFunctions = {.reply = &Reply, .fail = &Fail};

// Takes one event, of which `size` bytes are to come, and calls the handler with it.
static void Invoke(const struct functions* functions, uint64_t size) {
  struct mayfly_native_invoke invoke;
  if (size < sizeof(invoke)) _exit(kExitSocket);
  ReadAll(&invoke, sizeof(invoke));
  const size_t strings_size =
      (size_t)invoke.request_id_length + invoke.trace_id_length + invoke.client_context_length;
  const size_t event_size = size - sizeof(invoke) - strings_size;
  // Every string gets a NUL; so does the event, for handlers that take it for text.
  char* const strings = calloc(1, strings_size + 3);
  uint8_t* const data = malloc(event_size + 1);
  if (strings == NULL || data == NULL) {
    fputs("mayfly-handler: no memory for the event\n", stderr);
    _exit(1);
  }
  char* const request_id = strings;
  char* const trace_id = request_id + invoke.request_id_length + 1;
  char* const client_context = trace_id + invoke.trace_id_length + 1;
  ReadAll(request_id, invoke.request_id_length);
  ReadAll(trace_id, invoke.trace_id_length);
  ReadAll(client_context, invoke.client_context_length);
  ReadAll(data, event_size);
  data[event_size] = 0;

  const struct mayfly_event event = {.request_id = request_id,
                                     .trace_id = trace_id,
                                     .client_context = client_context,
                                     .deadline_ms = invoke.deadline_ms,
                                     .data = data,
                                     .size = event_size};
  struct invocation invocation = {.answer = {.functions = &kAnswerFunctions}};
  const int status = functions->handler(&event, &invocation.answer);
  fflush(NULL);
  if (invocation.failure_type != NULL) {
    SendFailure(invocation.failure_type, invocation.failure_message);
  } else if (invocation.replied_twice) {
    SendFailure("Runtime.DuplicateAnswer", "the handler answered the same event twice");
  } else if (status != 0) {
    char message[64];
    snprintf(message, sizeof(message), "the handler returned %d", status);
    SendFailure("Function.Error", message);
  } else {
    Send(MAYFLY_NATIVE_DONE, NULL, 0);
  }
  free(invocation.failure_type);
  free(invocation.failure_message);
  free(strings);
  free(data);
}

static void CallHook(int (*hook)(void), const char* error_type, const char* error) {
  if (hook() != 0) FailAndExit(error_type, error);
  fflush(NULL);
  Send(MAYFLY_NATIVE_HOOK_DONE, NULL, 0);
}

// Does what the next message asks for. Init asks for hooks only that there are.
static void Serve(const struct functions* functions) {
  struct mayfly_native_header header;
  ReadAll(&header, sizeof(header));
  switch (header.type) {
    case MAYFLY_NATIVE_INVOKE:
      Invoke(functions, header.length);
      break;
    case MAYFLY_NATIVE_BEFORE_SNAPSHOT:
      CallHook(functions->before_snapshot, "Runtime.BeforeSnapshotError",
               "mayfly_before_snapshot() of the handler failed");
      break;
    case MAYFLY_NATIVE_AFTER_RESTORE:
      CallHook(functions->after_restore, "Runtime.AfterRestoreError",
               "mayfly_after_restore() of the handler failed");
      break;
    default:
      _exit(kExitSocket);
  }
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fputs("usage: mayfly-handler SHARED-OBJECT (started by mayfly-init)\n", stderr);
    return kExitUsage;
  }
  fcntl(MAYFLY_NATIVE_FD, F_SETFD, FD_CLOEXEC);
  setvbuf(stdout, NULL, _IOLBF, BUFSIZ);

  void* const object = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (object == NULL) FailAndExit("Runtime.ImportHandlerError", dlerror());
  const uint32_t* const version = dlsym(object, "mayfly_abi_version");
  if (version == NULL || *version != MAYFLY_ABI_VERSION) {
    FailAndExit("Runtime.ImportHandlerError",
                version == NULL ? "the shared object does not define mayfly_abi_version"
                                : "the shared object was built for another version of the ABI");
  }
  // POSIX lets dlsym() stand for functions too; ISO C has no conversion for it.
  struct functions functions = {0};
  int (*start)(void) = NULL;
  *(void**)&functions.handler = dlsym(object, "mayfly_handler");
  *(void**)&functions.before_snapshot = dlsym(object, "mayfly_before_snapshot");
  *(void**)&functions.after_restore = dlsym(object, "mayfly_after_restore");
  *(void**)&start = dlsym(object, "mayfly_init");
  if (functions.handler == NULL) {
    FailAndExit("Runtime.HandlerNotFound", "the shared object does not define mayfly_handler");
  }
  if (start != NULL && start() != 0) {
    FailAndExit("Runtime.InitError", "mayfly_init() of the handler failed");
  }
  struct mayfly_native_ready ready = {.version = MAYFLY_NATIVE_VERSION};
  if (functions.before_snapshot != NULL) ready.hooks |= MAYFLY_NATIVE_HAS_BEFORE_SNAPSHOT;
  if (functions.after_restore != NULL) ready.hooks |= MAYFLY_NATIVE_HAS_AFTER_RESTORE;
  Send(MAYFLY_NATIVE_READY, &ready, sizeof(ready));
  while (true) Serve(&functions);
}
