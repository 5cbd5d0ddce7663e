/* Answers events on several threads, each event in a clone of its own that is made in a shell:
 *
 *   serve hello.snapshot [INVOCATIONS [THREADS]]
 *
 * For a function that answers with its event. Prints how many answers were right, and how long a
 * clone and its answer took.
 */
#include <mayfly.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST_THREADS = 64 };

struct server {
  mayfly_snapshot *snapshot;
  mayfly_pool *pool;
  unsigned count;
  atomic_uint next, right;
  uint64_t *microseconds; /* One for each invocation. */
};

static uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static int report(const char *what, const void *handle, int status) {
  char text[512];
  if (mayfly_error(handle, text, sizeof(text)) <= 0) {
    snprintf(text, sizeof(text), "%s", mayfly_strerror(status));
  }
  fprintf(stderr, "serve: %s: %s\n", what, text);
  return EXIT_FAILURE;
}

/* 1 if the answer is the event. */
static int answer_one(struct server *server, unsigned number) {
  struct mayfly_restore_options options = MAYFLY_RESTORE_OPTIONS_INIT;
  options.pool = server->pool;
  mayfly_function *clone;
  int status = mayfly_restore(server->snapshot, &options, &clone);
  if (status != MAYFLY_OK) return report("restore", server->snapshot, status), 0;
  char event[64], answer[64];
  const int length = snprintf(event, sizeof(event), "{\"number\":%u}", number);
  size_t size = sizeof(answer);
  status = mayfly_invoke(clone, event, (size_t)length, NULL, answer, &size);
  if (status != MAYFLY_OK) report("invoke", clone, status);
  mayfly_function_close(clone);
  return status == MAYFLY_OK && size == (size_t)length && memcmp(answer, event, size) == 0;
}

static void *serve(void *argument) {
  struct server *server = argument;
  for (;;) {
    const unsigned number = atomic_fetch_add(&server->next, 1);
    if (number >= server->count) return NULL;
    const uint64_t start = now_us();
    if (answer_one(server, number)) atomic_fetch_add(&server->right, 1);
    server->microseconds[number] = now_us() - start;
  }
}

static int by_size(const void *a, const void *b) {
  const uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
  return (left > right) - (left < right);
}

static int run(struct server *server, unsigned threads) {
  pthread_t ids[MOST_THREADS];
  unsigned started = 0;
  while (started < threads && pthread_create(&ids[started], NULL, serve, server) == 0) ++started;
  for (unsigned i = 0; i < started; ++i) pthread_join(ids[i], NULL);
  qsort(server->microseconds, server->count, sizeof(uint64_t), by_size);
  printf("%u of %u right, p50 %llu us, p99 %llu us\n", atomic_load(&server->right), server->count,
         (unsigned long long)server->microseconds[server->count / 2],
         (unsigned long long)server->microseconds[server->count - 1 - server->count / 100]);
  return atomic_load(&server->right) == server->count ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
  struct server server = {.count = argc > 2 ? (unsigned)atoi(argv[2]) : 1000};
  const unsigned threads = argc > 3 ? (unsigned)atoi(argv[3]) : 8;
  if (argc < 2 || server.count == 0 || threads == 0 || threads > MOST_THREADS) {
    fprintf(stderr, "usage: serve SNAPSHOT [INVOCATIONS [THREADS]]\n");
    return 2;
  }
  server.microseconds = calloc(server.count, sizeof(uint64_t));
  mayfly_instance *lib;
  int status = mayfly_open(NULL, &lib);
  if (status != MAYFLY_OK || server.microseconds == NULL) return report("mayfly", NULL, status);
  status = mayfly_snapshot_open(lib, argv[1], NULL, &server.snapshot);
  if (status != MAYFLY_OK) return report("open", lib, status);
  struct mayfly_pool_options shells = MAYFLY_POOL_OPTIONS_INIT;
  shells.count = threads;
  shells.refill = 1;
  status = mayfly_pool_create(server.snapshot, &shells, &server.pool);
  if (status != MAYFLY_OK) return report("pool", server.snapshot, status);

  const int result = run(&server, threads);
  mayfly_pool_close(server.pool);
  mayfly_snapshot_close(server.snapshot);
  mayfly_close(lib);
  free(server.microseconds);
  return result;
}
