/*
 * mayfly.h: microVMs for functions, in the caller's own process. C11; docs/embedding.md is the guide.
 *
 * Results   A function returns 0 (or, where it says so, a size, a descriptor or a count) or one of
 *           the negative MAYFLY_E_* codes. mayfly_error() has the text for the last failure of a
 *           handle on the calling thread. Nothing ends or aborts the caller's process.
 * Handles   A handle is an opaque value, not an address. A null handle, one that was closed and one
 *           of another kind give MAYFLY_E_HANDLE. Each is closed by its own *_close(), once. An
 *           instance is closed last: until then mayfly_close() says MAYFLY_E_BUSY. No other handle
 *           needs the one that it was made from: a clone outlives its snapshot's handle.
 * Options   A structure begins with its size, set by its *_INIT macro; a null pointer means the
 *           defaults, and so does 0 in a member. What a newer caller sets and this library does not
 *           know is MAYFLY_E_UNSUPPORTED.
 * Strings   End in a NUL, are at most 4095 bytes long, and are copied before a function returns.
 * Buffers   (void *buffer, size_t *size): *size is the room on entry, the number of bytes there are
 *           on return. MAYFLY_E_BUFFER if they do not fit, and then nothing was written; a room of 0
 *           asks for the number, and buffer may be null.
 * Threads   Every function may be called from any thread, and on different handles at the same time.
 *           "One at a time" at a function means: a second call on the same handle meanwhile returns
 *           MAYFLY_E_BUSY. In a callback only the functions marked "in callbacks" work; all others
 *           return MAYFLY_E_THREAD. No callback runs after the close of its handle has returned.
 * Signals   The library uses SIGRTMIN for its own threads. It handles SIGSEGV and SIGBUS, which an
 *           access of its own to guest memory raises when a page of a file is gone; all others go to
 *           the handlers that were there before its first machine.
 * Process   Not across fork(): a child may only exec() or exit.
 */
#ifndef MAYFLY_H
#define MAYFLY_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define MAYFLY_EXPORT __attribute__((visibility("default")))
#else
#define MAYFLY_EXPORT
#endif

/* ---------------------------------------------------------------- versions, features, errors */

/* Grows when something is added to this header; what was there stays as it was. */
#define MAYFLY_API_VERSION 4

enum {
  MAYFLY_OK = 0,
  MAYFLY_E_NOT_FOUND = -2,    /* ENOENT     something that was named is not there */
  MAYFLY_E_HOST = -5,         /* EIO        a system call failed; the text says which, and why */
  MAYFLY_E_HANDLE = -9,       /* EBADF      null, closed, or of another kind */
  MAYFLY_E_AGAIN = -11,       /* EAGAIN     not yet */
  MAYFLY_E_NO_MEMORY = -12,   /* ENOMEM */
  MAYFLY_E_PERMISSION = -13,  /* EACCES */
  MAYFLY_E_BUSY = -16,        /* EBUSY      another call is under way, or handles are still open */
  MAYFLY_E_INVALID = -22,     /* EINVAL     an argument, a configuration */
  MAYFLY_E_TOO_LARGE = -27,   /* EFBIG      a documented limit is exceeded */
  MAYFLY_E_GUEST = -32,       /* EPIPE      the guest ended, or broke its protocol */
  MAYFLY_E_THREAD = -35,      /* EDEADLK    not in a callback */
  MAYFLY_E_CORRUPT = -74,     /* EBADMSG    an image or a snapshot does not hold what it claims */
  MAYFLY_E_STATE = -77,       /* EBADFD     not before, or not after, another function */
  MAYFLY_E_UNSUPPORTED = -95, /* EOPNOTSUPP this host, or this version, cannot do it */
  MAYFLY_E_BUFFER = -105,     /* ENOBUFS    the buffer is too small */
  MAYFLY_E_TIMEOUT = -110,    /* ETIMEDOUT */
  MAYFLY_E_HANDLER = -121,    /* EREMOTEIO  the function's handler failed */
  MAYFLY_E_CANCELLED = -125   /* ECANCELED */
};

typedef struct mayfly_instance mayfly_instance; /* An instance: what everything is made from. */
typedef struct mayfly_image mayfly_image;       /* A function image, NAME.mfn. */
typedef struct mayfly_snapshot mayfly_snapshot; /* A function's snapshot, a template of clones. */
typedef struct mayfly_pool mayfly_pool;         /* Shells that wait for a restore. */
typedef struct mayfly_function mayfly_function; /* A machine with a function in it. */
typedef struct mayfly_call mayfly_call;         /* An invocation that somebody else waits for. */
typedef struct mayfly_machine mayfly_machine;   /* A machine with whatever kernel. */
typedef struct mayfly_zygote mayfly_zygote;     /* A jailed process that makes jailed clones. */

/* "1.2.3"; MAYFLY_API_VERSION of the library itself. In callbacks. */
MAYFLY_EXPORT const char *mayfly_version(void);
MAYFLY_EXPORT int mayfly_api_version(void);

/* 1 if this library has the feature, else 0: "snapshot", "shells", "map", "uffd", "eager",
 * "zygote". In callbacks. */
MAYFLY_EXPORT int mayfly_feature(const char *name);

/* What a code means, in a few words; never null. In callbacks. */
MAYFLY_EXPORT const char *mayfly_strerror(int code);

/* The text for the last failure of `handle` (of any kind) on this thread, cut to fit and ended with
 * a NUL; returns its whole length, 0 if there was none. In callbacks. */
MAYFLY_EXPORT int mayfly_error(const void *handle, char *buffer, size_t size);

/* ---------------------------------------------------------------- instances
 *
 *   mayfly_instance *lib;
 *   int status = mayfly_open(NULL, &lib);
 *   if (status < 0) fprintf(stderr, "%s\n", mayfly_strerror(status));
 */

enum { MAYFLY_LOG_ERROR, MAYFLY_LOG_WARNING, MAYFLY_LOG_INFO, MAYFLY_LOG_DEBUG };

struct mayfly_options {
  size_t size;
  /* A line of the library's own log, without a newline and without a NUL. Any thread, several at a
   * time; it must be quick. Null: no log. */
  void (*log)(void *user, int level, const char *line, size_t length);
  void *user;
  int log_level; /* Up to this one; MAYFLY_LOG_ERROR is 0. */
  int reserved;
  /* Where it is remembered which snapshots were compared with their digests; null: nowhere, and
   * each is when it is opened, or a machine restored. Nobody else may be able to write to it. */
  const char *verified_directory;
};
#define MAYFLY_OPTIONS_INIT {sizeof(struct mayfly_options), 0, 0, 0, 0, 0}

MAYFLY_EXPORT int mayfly_open(const struct mayfly_options *options, mayfly_instance **out);

/* MAYFLY_E_BUSY while handles made from it are open. */
MAYFLY_EXPORT int mayfly_close(mayfly_instance *lib);

/* 0 if this host can run machines; else a code, and mayfly_error() says what is missing. */
MAYFLY_EXPORT int mayfly_check_host(mayfly_instance *lib);

/* ---------------------------------------------------------------- function images
 *
 *   mayfly_image *image;
 *   status = mayfly_image_open(lib, "hello.mfn", &image);
 */

struct mayfly_function_info {
  size_t size;
  uint64_t memory_bytes;
  uint32_t vcpus;
  uint32_t timeout_ms; /* Of an invocation. */
  char name[256];
};
#define MAYFLY_FUNCTION_INFO_INIT {sizeof(struct mayfly_function_info), 0, 0, 0, {0}}

MAYFLY_EXPORT int mayfly_image_open(mayfly_instance *lib, const char *path, mayfly_image **out);
MAYFLY_EXPORT int mayfly_image_info(mayfly_image *image, struct mayfly_function_info *info);

/* Reads all of it and compares it with its digest: MAYFLY_E_CORRUPT if it differs. */
MAYFLY_EXPORT int mayfly_image_verify(mayfly_image *image);
MAYFLY_EXPORT int mayfly_image_close(mayfly_image *image);

/* ---------------------------------------------------------------- functions: boot and snapshot
 *
 *   mayfly_function *function;
 *   struct mayfly_boot_options boot = MAYFLY_BOOT_OPTIONS_INIT;
 *   boot.snapshot = 1;
 *   status = mayfly_function_boot(image, &boot, &function);
 *   if (status == 0) status = mayfly_function_snapshot(function, "hello.snapshot");
 *   mayfly_function_close(function);
 */

/* Text of the handler's, as it comes: whole lines where they are short enough; not ended by a NUL.
 * `invocation` counts from 1 in each machine, 0 is outside of one; `stream` is 1 for the handler's
 * standard output, 2 for its standard error, 3 for the guest's init. On the thread that boots the
 * function, waits for it to be ready, invokes or saves it. */
typedef void mayfly_handler_log(void *user, uint64_t invocation, int stream, const char *text,
                                size_t length);

/* A network device of a function, on a tap of the host's. */
struct mayfly_net {
  const char *tap;
  const char *mac;     /* "02:..."; null: a random one at boot, the saved one at a restore. */
  const char *address; /* "172.31.0.2/30"; null: init does not configure it. */
  const char *gateway; /* Null: none. */
  const char *dns;     /* Up to 3 addresses with commas between them; null: none. */
};

/* How much may pass of something: so much a second (0: any amount), after a pause so much at once (0:
 * as in a tenth of a second), and so much more at the beginning. */
struct mayfly_rate {
  uint64_t per_second;
  uint64_t burst;
  uint64_t one_time_burst;
};

/* What else a network device of a function may be, where it is not as by default. With `fd` its
 * `tap` may be null. */
struct mayfly_net_settings {
  size_t size;
  int fd;            /* The tap, open already, which is duplicated; 0: `tap` is opened. */
  uint32_t mtu;      /* What the guest is told, 68 to 65535; 0: nothing. */
  int link_down;     /* 1: its cable is out at first. */
  int filter_source; /* 1: it sends only frames from its own address. */
  struct mayfly_rate receive_bytes; /* Into the guest. */
  struct mayfly_rate receive_frames;
  struct mayfly_rate transmit_bytes;
  struct mayfly_rate transmit_frames;
};
#define MAYFLY_NET_SETTINGS_INIT \
  {sizeof(struct mayfly_net_settings), 0, 0, 0, 0, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}, {0, 0, 0}}

struct mayfly_boot_options {
  size_t size;
  const char *kernel; /* A kernel or a bundle directory; null: $MAYFLY_KERNEL, the cache's. */
  const char *guest_directory; /* With the programs init and handler; null: the installed one. */
  uint64_t memory_bytes;       /* 0, as the next two: what the image says. Whole MiB. */
  uint32_t vcpus;
  uint32_t timeout_ms;
  int snapshot;   /* 1: mayfly_function_snapshot() will be called, once. */
  int console_fd; /* Gets the guest's console, duplicated; 0: none. */
  const struct mayfly_net *nets;
  size_t net_count; /* At most 8. */
  mayfly_handler_log *log;
  void *user;
  const struct mayfly_net_settings *net_settings; /* An array as long as `nets`; null: none. All
                                                     begin with the same size. */
  int start_only; /* 1: the boot returns as soon as the guest runs. */
  int verify;     /* 1: as mayfly_image_verify(), while the guest boots. */
};
#define MAYFLY_BOOT_OPTIONS_INIT \
  {sizeof(struct mayfly_boot_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* Boots a machine with the function in it, and returns when its handler is ready for events: a
 * second or so, or as long as it takes to read the image. MAYFLY_E_HANDLER if it does not start;
 * MAYFLY_E_CORRUPT, with `verify`, before init is told to mount an image that is damaged. */
MAYFLY_EXPORT int mayfly_function_boot(mayfly_image *image,
                                       const struct mayfly_boot_options *options,
                                       mayfly_function **out);

/* After a boot with `start_only`, which can so be interrupted: waits until the handler is ready, with
 * the errors of a boot. Until then the function takes no events, and cannot be saved:
 * MAYFLY_E_STATE. 0 at once if it is ready. One at a time. */
MAYFLY_EXPORT int mayfly_function_ready(mayfly_function *function);

/* Writes a snapshot into the new directory `path`, whole or not at all. Only after a boot or a
 * restore with `snapshot`, and after whatever invocations are to warm the function, which then takes
 * no more of them. MAYFLY_E_INVALID if there is something at `path`: another may be tried. One at a
 * time. */
MAYFLY_EXPORT int mayfly_function_snapshot(mayfly_function *function, const char *path);

/* How the snapshot went. MAYFLY_E_STATE before there is one. */
struct mayfly_saved {
  size_t size;
  uint64_t pause_us;   /* How long a machine that goes on has to stand still. */
  uint64_t data_bytes; /* What was written of its memory. */
};
#define MAYFLY_SAVED_INIT {sizeof(struct mayfly_saved), 0, 0}
MAYFLY_EXPORT int mayfly_function_saved(mayfly_function *function, struct mayfly_saved *saved);

/* Ends the machine; the function can be asked for its end and its metrics until it is closed. A jailed
 * clone ends soon after. One at a time. */
MAYFLY_EXPORT int mayfly_function_stop(mayfly_function *function);

/* Ends what waits in mayfly_function_ready(), mayfly_invoke() or mayfly_function_snapshot(), with
 * MAYFLY_E_CANCELLED; from then on the function is only to be closed. In callbacks. */
MAYFLY_EXPORT int mayfly_function_interrupt(mayfly_function *function);

/* Why the machine ended: as mayfly_machine_end(). */
struct mayfly_end;
MAYFLY_EXPORT int mayfly_function_end(mayfly_function *function, struct mayfly_end *end);

/* When it came to what, by CLOCK_MONOTONIC in nanoseconds. MAYFLY_E_STATE until it is ready,
 * MAYFLY_E_UNSUPPORTED of a jailed clone. */
struct mayfly_times {
  size_t size;
  uint64_t created_ns; /* The machine was there, its guest about to run. */
  uint64_t init_ns;    /* The guest's init was heard, by whoever waits for the handler, and with
                          `verify` after that; 0 of a clone. */
  uint64_t ready_ns;   /* The handler was ready for events; of a clone as created_ns. */
};
#define MAYFLY_TIMES_INIT {sizeof(struct mayfly_times), 0, 0, 0}
MAYFLY_EXPORT int mayfly_function_times(mayfly_function *function, struct mayfly_times *times);

/* Counters of the machine's devices, which docs/metrics.md describes, as JSON, or for Prometheus. */
MAYFLY_EXPORT int mayfly_function_metrics(mayfly_function *function, void *buffer, size_t *size);
MAYFLY_EXPORT int mayfly_function_metrics_text(mayfly_function *function, void *buffer,
                                               size_t *size);

/* Stops the machine, interrupts whatever call waits on the handle, and waits for it. */
MAYFLY_EXPORT int mayfly_function_close(mayfly_function *function);

/* ---------------------------------------------------------------- snapshots, clones, shells
 *
 *   mayfly_snapshot *snapshot;
 *   status = mayfly_snapshot_open(lib, "hello.snapshot", NULL, &snapshot);
 *   struct mayfly_pool_options shells = MAYFLY_POOL_OPTIONS_INIT;
 *   shells.count = 8;
 *   mayfly_pool *pool;
 *   status = mayfly_pool_create(snapshot, &shells, &pool);
 *   struct mayfly_restore_options restore = MAYFLY_RESTORE_OPTIONS_INIT;
 *   restore.pool = pool;
 *   mayfly_function *function;
 *   status = mayfly_restore(snapshot, &restore, &function);
 */

/* How a clone's memory is filled. */
enum {
  MAYFLY_MEMORY_MAP = 0,  /* A private mapping: clean pages are shared by all clones. */
  MAYFLY_MEMORY_UFFD = 1, /* Page by page, as the guest touches them. */
  MAYFLY_MEMORY_EAGER = 2 /* All of it before the guest runs. */
};

struct mayfly_snapshot_options {
  size_t size;
  const char *image;  /* The function's image, where it is not as the snapshot says. */
  int unverified;     /* 1: the memory is trusted instead of compared with its digests. */
  int no_working_set; /* 1: a recorded working set is not filled ahead. */
};
#define MAYFLY_SNAPSHOT_OPTIONS_INIT {sizeof(struct mayfly_snapshot_options), 0, 0, 0}

/* Opens a function's snapshot, checks it, and keeps it ready for any number of clones. */
MAYFLY_EXPORT int mayfly_snapshot_open(mayfly_instance *lib, const char *path,
                                       const struct mayfly_snapshot_options *options,
                                       mayfly_snapshot **out);
MAYFLY_EXPORT int mayfly_snapshot_info(mayfly_snapshot *snapshot,
                                       struct mayfly_function_info *info);
MAYFLY_EXPORT int mayfly_snapshot_close(mayfly_snapshot *snapshot);

struct mayfly_pool_options {
  size_t size;
  uint32_t count; /* So many shells are made before mayfly_pool_create() returns; at most 4096. */
  int refill;     /* 1: a thread of the pool's makes a new one for each that was taken. */
};
#define MAYFLY_POOL_OPTIONS_INIT {sizeof(struct mayfly_pool_options), 0, 0}

/* Shells: machines without contents, of the snapshot's shape, with their threads. A shell is used
 * once. */
MAYFLY_EXPORT int mayfly_pool_create(mayfly_snapshot *snapshot,
                                     const struct mayfly_pool_options *options, mayfly_pool **out);
/* Makes `count` shells more, on the calling thread. */
MAYFLY_EXPORT int mayfly_pool_fill(mayfly_pool *pool, uint32_t count);
/* How many are there. */
MAYFLY_EXPORT int mayfly_pool_available(mayfly_pool *pool);
MAYFLY_EXPORT int mayfly_pool_close(mayfly_pool *pool);

struct mayfly_restore_options {
  size_t size;
  mayfly_pool *pool;   /* Gives the shell, if it has one; the clone is made from scratch if not. */
  int memory;          /* MAYFLY_MEMORY_*; with a pool only MAYFLY_MEMORY_MAP. */
  int console_fd;      /* As at boot. */
  uint32_t timeout_ms; /* Of an invocation; 0: as saved. */
  int record;          /* 1: for mayfly_function_record(); only with MAYFLY_MEMORY_UFFD. */
  const struct mayfly_net *nets; /* As many as were saved; null: those of the snapshot. */
  size_t net_count;
  mayfly_handler_log *log;
  void *user;
  mayfly_zygote *zygote; /* Makes the clone in a jail; without a pool, nets and recording, and with
                            MAYFLY_MEMORY_MAP. With overrides MAYFLY_E_UNSUPPORTED. */
  /* Who the clone is, where it is not to be as by default: "KEY=VALUE", as of mayfly invoke
   * --override. "netN.mac=02:...", "generation=" and 32 hexadecimal digits, and for tests, since it
   * makes secrets the same, "entropy=" and 128 of them. At most 64. */
  const char *const *overrides;
  size_t override_count;
  /* As at boot, for `nets`. Limits and the filter are not in a snapshot: without them the clone has
   * none. mtu and link_down are the snapshot's, and have to be 0. */
  const struct mayfly_net_settings *net_settings;
  int snapshot; /* 1: mayfly_function_snapshot() will be called, once: it writes what is not as in
                   this snapshot, over which the new one lies. Without a zygote, and only with
                   MAYFLY_MEMORY_MAP. */
  int reserved;
};
#define MAYFLY_RESTORE_OPTIONS_INIT \
  {sizeof(struct mayfly_restore_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

/* A new clone, which runs when this returns and is ready for mayfly_invoke(). It has fresh entropy,
 * the host's clock and an identity of its own. */
MAYFLY_EXPORT int mayfly_restore(mayfly_snapshot *snapshot,
                                 const struct mayfly_restore_options *options,
                                 mayfly_function **out);

/* Writes what a clone restored with `record` has touched so far into the snapshot at `path`, for
 * later clones to have it filled ahead. Once. */
MAYFLY_EXPORT int mayfly_function_record(mayfly_function *function, const char *path);

/* ---------------------------------------------------------------- snapshots as directories
 *
 *   status = mayfly_snapshot_flatten(lib, "warm.snapshot", "whole.snapshot");
 *   if (status == 0) status = mayfly_snapshot_verify(lib, "whole.snapshot");
 *
 * Of functions and of machines. */

/* What is known of the snapshot at `path`, as JSON: what mayfly snapshot info --json prints. */
MAYFLY_EXPORT int mayfly_snapshot_describe(mayfly_instance *lib, const char *path, void *buffer,
                                           size_t *size);

/* Reads all that a restore of it may read, also of those that it lies over, and compares it with its
 * digests: MAYFLY_E_CORRUPT if anything differs. */
MAYFLY_EXPORT int mayfly_snapshot_verify(mayfly_instance *lib, const char *path);

/* Copies it and what it lies over into one, which lies over none, in the new directory `to`, whole
 * or not at all. */
MAYFLY_EXPORT int mayfly_snapshot_flatten(mayfly_instance *lib, const char *path, const char *to);

/* What became of what a collection found. */
enum {
  MAYFLY_GARBAGE_REMOVED, /* It is gone; in a dry run: it would be. */
  MAYFLY_GARBAGE_IN_USE,  /* Somebody has it open, or one that stays lies over it. */
  MAYFLY_GARBAGE_DAMAGED  /* It cannot be read, and stays. */
};

struct mayfly_collect_options {
  size_t size;
  /* The names, in the directory, of the snapshots that are needed: they stay, with those that they
   * lie over, and all others go. Null: only what killed writers have left goes. */
  const char *const *keep;
  size_t keep_count; /* At most 1000000. */
  int dry_run;       /* 1: nothing is removed. */
  int reserved;
  /* Called for each thing found before the call returns; `what` is for people. May be null. */
  void (*found)(void *user, int fate, const char *name, const char *what);
  void *user;
};
#define MAYFLY_COLLECT_OPTIONS_INIT {sizeof(struct mayfly_collect_options), 0, 0, 0, 0, 0, 0}

/* Removes from `directory`, in which snapshots stand, what nobody needs, writes, or has open, as
 * handles of snapshots have theirs. MAYFLY_E_NOT_FOUND, before anything is removed, if one of `keep`,
 * or one that it lies over, is missing. */
MAYFLY_EXPORT int mayfly_snapshot_collect(mayfly_instance *lib, const char *directory,
                                          const struct mayfly_collect_options *options);

/* ---------------------------------------------------------------- jailed clones
 *
 *   struct mayfly_zygote_options jailed = MAYFLY_ZYGOTE_OPTIONS_INIT;
 *   jailed.count = 4;
 *   mayfly_zygote *zygote;
 *   status = mayfly_zygote_start(snapshot, &jailed, &zygote);
 *   restore.zygote = zygote;
 *   status = mayfly_restore(snapshot, &restore, &function);
 */

struct mayfly_zygote_options {
  size_t size;
  const char *program; /* The mayfly command; null: the installed one. */
  const char *limit;   /* As of mayfly invoke --limit, for all its clones together; null: none. */
  uint32_t count; /* So many clones wait ahead of a restore, and are made again; at most 256. */
  uint32_t reserved;
};
#define MAYFLY_ZYGOTE_OPTIONS_INIT {sizeof(struct mayfly_zygote_options), 0, 0, 0, 0}

/* Starts a process that has the snapshot and a jail, and waits; returns when it does. Each clone that
 * mayfly_restore() has it make is a process of its own in the jail: what breaks out of its guest
 * finds neither the caller nor other clones. Of its clones mayfly_function_metrics(), its _text() and
 * mayfly_function_times() have nothing (MAYFLY_E_UNSUPPORTED). The snapshot has no network devices. The process is the caller's child,
 * and waited for at the close. */
MAYFLY_EXPORT int mayfly_zygote_start(mayfly_snapshot *snapshot,
                                      const struct mayfly_zygote_options *options,
                                      mayfly_zygote **out);
/* The process ends with the last of its clones. */
MAYFLY_EXPORT int mayfly_zygote_close(mayfly_zygote *zygote);

/* ---------------------------------------------------------------- invocations
 *
 *   char answer[4096];
 *   size_t size = sizeof(answer);
 *   status = mayfly_invoke(function, "{}", 2, NULL, answer, &size);
 */

/* Events and answers are at most so many bytes. */
#define MAYFLY_MOST_EVENT_BYTES 6291456

struct mayfly_invoke_options {
  size_t size;
  uint32_t timeout_ms; /* 0: the function's own; at most 900000. */
  uint32_t reserved;
  const char *request_id; /* Of A-Z a-z 0-9 - . _, at most 128; null: one is made. */
  /* Gets the answer before the call returns, or on the call's own thread if it was started; valid
   * while it runs. */
  void (*answer)(void *user, const void *bytes, size_t length);
  void *user;
};
#define MAYFLY_INVOKE_OPTIONS_INIT {sizeof(struct mayfly_invoke_options), 0, 0, 0, 0, 0}

/* Hands the event to the handler and waits for its answer, for the timeout and 100 ms more.
 * `answer` and `answer_size` are a buffer; both may be null where there is a callback.
 * MAYFLY_E_BUFFER: the answer waits for mayfly_answer(). MAYFLY_E_HANDLER: the handler failed, and
 * the error document, JSON, is the answer. MAYFLY_E_TIMEOUT: no answer in time. After these two and
 * after MAYFLY_E_GUEST the function takes no more events: MAYFLY_E_STATE. A handler that awaits its
 * restore takes none before its snapshot: the same. One at a time. */
MAYFLY_EXPORT int mayfly_invoke(mayfly_function *function, const void *event, size_t event_size,
                                const struct mayfly_invoke_options *options, void *answer,
                                size_t *answer_size);

/* The last answer once more. */
MAYFLY_EXPORT int mayfly_answer(mayfly_function *function, void *buffer, size_t *size);

/* What the last invocation has cost. */
struct mayfly_invocation {
  size_t size;
  uint64_t total_us;          /* From the call to the last byte of the answer. */
  uint64_t handler_us;        /* In the guest, as it says. */
  uint64_t max_memory_bytes;  /* Of the handler's, as the guest says; 0: unknown. */
  uint64_t log_dropped_bytes; /* Of its log, because there was too much. */
};
#define MAYFLY_INVOCATION_INIT {sizeof(struct mayfly_invocation), 0, 0, 0, 0}
MAYFLY_EXPORT int mayfly_last_invocation(mayfly_function *function,
                                         struct mayfly_invocation *invocation);

/* The same without waiting:
 *
 *   mayfly_call *call;
 *   status = mayfly_invoke_start(function, event, size, NULL, &call);
 *   struct pollfd done = {mayfly_call_fd(call), POLLIN, 0};
 *   poll(&done, 1, -1);
 *   status = mayfly_call_result(call, answer, &answer_size);
 *   mayfly_call_close(call);
 *
 * The event is copied. Callbacks run on a thread of the call's. */
MAYFLY_EXPORT int mayfly_invoke_start(mayfly_function *function, const void *event,
                                      size_t event_size,
                                      const struct mayfly_invoke_options *options,
                                      mayfly_call **out);
/* Readable once there is a result; for poll(2), the library's own, closed with the call. In
 * callbacks. */
MAYFLY_EXPORT int mayfly_call_fd(mayfly_call *call);
/* 0 when there is a result, MAYFLY_E_TIMEOUT after `timeout_ms` (-1: no limit). */
MAYFLY_EXPORT int mayfly_call_wait(mayfly_call *call, int timeout_ms);
/* What mayfly_invoke() would have returned, any number of times; MAYFLY_E_AGAIN before that. */
MAYFLY_EXPORT int mayfly_call_result(mayfly_call *call, void *answer, size_t *answer_size);
/* Ends it soon with MAYFLY_E_CANCELLED unless it has a result, and with it the function: a handler
 * cannot be taken its event back. In callbacks. */
MAYFLY_EXPORT int mayfly_call_cancel(mayfly_call *call);
/* Cancels it if it has no result yet, and waits for it. */
MAYFLY_EXPORT int mayfly_call_close(mayfly_call *call);

/* ---------------------------------------------------------------- machines
 *
 *   mayfly_machine *machine;
 *   status = mayfly_machine_create(lib, &machine);
 *   status = mayfly_machine_set_kernel(machine, "vmlinux", NULL, "console=ttyS0");
 *   status = mayfly_machine_add_disk(machine, "root.img", NULL, 0);
 *   status = mayfly_machine_set_console(machine, -1, 1);
 *   status = mayfly_machine_boot(machine);
 *   status = mayfly_machine_wait(machine, -1);
 *
 * Configured first, then booted once, or restored from a snapshot:
 *
 *   status = mayfly_machine_pause(machine);
 *   status = mayfly_machine_snapshot(machine, "machine.snapshot");
 *   status = mayfly_machine_set_snapshot(another, "machine.snapshot", NULL);
 *   status = mayfly_machine_boot(another);
 *
 * After mayfly_machine_boot() the configuring functions return MAYFLY_E_STATE, and before it the
 * others do. All but waiting and reading: one at a time. */
MAYFLY_EXPORT int mayfly_machine_create(mayfly_instance *lib, mayfly_machine **out);

/* `initrd` and `command_line` may be null. */
MAYFLY_EXPORT int mayfly_machine_set_kernel(mayfly_machine *machine, const char *kernel,
                                            const char *initrd, const char *command_line);

struct mayfly_machine_snapshot_options {
  size_t size;
  int memory;     /* MAYFLY_MEMORY_* */
  int unverified; /* 1: the memory is trusted instead of compared with its digests. */
  /* As of mayfly_restore(), and "vsock.cid=N", which counts before mayfly_machine_set_vsock(). */
  const char *const *overrides;
  size_t override_count;
};
#define MAYFLY_MACHINE_SNAPSHOT_OPTIONS_INIT \
  {sizeof(struct mayfly_machine_snapshot_options), 0, 0, 0, 0}

/* Instead of a kernel: mayfly_machine_boot() then restores the machine whose snapshot is in the
 * directory `path`, as mayfly vm --restore does, and it begins a life of its own. Kernel, memory,
 * vCPUs, rng and balloon are the snapshot's: MAYFLY_E_STATE after they were set, and where they are
 * set afterwards. Disks and nets are those that the snapshot names, unless others are added: as
 * many, in the same order, disks of the same size, writable if they were. Neither a console nor a
 * socket of the vsock's is there unless it is set. */
MAYFLY_EXPORT int mayfly_machine_set_snapshot(
    mayfly_machine *machine, const char *path,
    const struct mayfly_machine_snapshot_options *options);
/* 64 MiB at least, whole pages; 128 MiB if it is not set. */
MAYFLY_EXPORT int mayfly_machine_set_memory(mayfly_machine *machine, uint64_t bytes);
/* 1 to 32; 1 if it is not set. */
MAYFLY_EXPORT int mayfly_machine_set_vcpus(mayfly_machine *machine, uint32_t count);
/* The first serial port, on duplicates of the descriptors; -1: none. */
MAYFLY_EXPORT int mayfly_machine_set_console(mayfly_machine *machine, int input_fd, int output_fd);

enum { MAYFLY_DISK_READ_ONLY = 1 };
/* `overlay`: a file that takes what the guest writes, so that the disk stays as it is; null: none. */
MAYFLY_EXPORT int mayfly_machine_add_disk(mayfly_machine *machine, const char *path,
                                          const char *overlay, uint32_t flags);
/* Only the net's tap and mac mean something; a null mac: a random one, or the snapshot's. */
MAYFLY_EXPORT int mayfly_machine_add_net(mayfly_machine *machine, const struct mayfly_net *net);
/* `path`: the Unix socket that leads to the guest, PATH_PORT those that the guest reaches.
 * `guest_cid`: 3 to 4294967294; after mayfly_machine_set_snapshot() 0 is a random one, as without
 * this function. */
MAYFLY_EXPORT int mayfly_machine_set_vsock(mayfly_machine *machine, uint32_t guest_cid,
                                           const char *path);
MAYFLY_EXPORT int mayfly_machine_set_rng(mayfly_machine *machine, int present);
/* A balloon that takes so much from the guest; before the boot and after it. */
MAYFLY_EXPORT int mayfly_machine_set_balloon(mayfly_machine *machine, uint64_t bytes);

/* Builds it and lets it run. */
MAYFLY_EXPORT int mayfly_machine_boot(mayfly_machine *machine);
/* Returns when no vCPU is in the guest any more. */
MAYFLY_EXPORT int mayfly_machine_pause(mayfly_machine *machine);
MAYFLY_EXPORT int mayfly_machine_resume(mayfly_machine *machine);
/* Writes a snapshot into the new directory `path`, whole or not at all, for
 * mayfly_machine_set_snapshot() and mayfly vm --restore. The machine is paused while its memory is
 * written, and then goes on, unless the caller had paused it. Disks are not in a snapshot, and have
 * to be at a restore what they were here: with one that is writable MAYFLY_E_STATE, unless the
 * caller has paused the machine, and copies such disks before it goes on or does not let it.
 * MAYFLY_E_STATE if the machine has ended, MAYFLY_E_INVALID if there is something at `path`. */
MAYFLY_EXPORT int mayfly_machine_snapshot(mayfly_machine *machine, const char *path);
/* Ends it, unless it has ended already. It can be asked for its end until it is closed. */
MAYFLY_EXPORT int mayfly_machine_stop(mayfly_machine *machine);
/* Plugs the cable of network device `index` in (1) or out (0). */
MAYFLY_EXPORT int mayfly_machine_set_link(mayfly_machine *machine, uint32_t index, int up);

/* 0 once it has ended, MAYFLY_E_TIMEOUT after `timeout_ms` (-1: no limit). */
MAYFLY_EXPORT int mayfly_machine_wait(mayfly_machine *machine, int timeout_ms);
/* Readable once it has ended; for poll(2), the library's own, closed with the machine. In
 * callbacks. */
MAYFLY_EXPORT int mayfly_machine_fd(mayfly_machine *machine);

enum {
  MAYFLY_END_POWER_OFF, /* The guest powered itself off. */
  MAYFLY_END_RESET,     /* The guest asked for a reset. */
  MAYFLY_END_TRIPLE_FAULT,
  MAYFLY_END_INTERNAL_ERROR,   /* KVM gave up on the guest. */
  MAYFLY_END_UNKNOWN_EXIT,     /* An exit that this library does not know. */
  MAYFLY_END_MEMORY_INTEGRITY, /* A page of the guest's memory is gone. */
  MAYFLY_END_HOST_ERROR,       /* A system call failed. */
  MAYFLY_END_STOPPED           /* Somebody on the host asked for it. */
};

struct mayfly_end {
  size_t size;
  int reason; /* MAYFLY_END_* */
  int reserved;
  char detail[256]; /* One line for a person; may be empty. */
};
#define MAYFLY_END_INIT {sizeof(struct mayfly_end), 0, 0, {0}}

/* MAYFLY_E_AGAIN while it runs. */
MAYFLY_EXPORT int mayfly_machine_end(mayfly_machine *machine, struct mayfly_end *end);
/* As mayfly_function_metrics(). */
MAYFLY_EXPORT int mayfly_machine_metrics(mayfly_machine *machine, void *buffer, size_t *size);
MAYFLY_EXPORT int mayfly_machine_metrics_text(mayfly_machine *machine, void *buffer, size_t *size);
MAYFLY_EXPORT int mayfly_machine_close(mayfly_machine *machine);

#ifdef __cplusplus
}
#endif

#endif /* MAYFLY_H */
