/* Restores a clone of a snapshot, has it answer one event, and prints the answer:
 *
 *   invoke hello.snapshot '{"name":"Ada"}'
 */
#include <mayfly.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int report(const char *what, const void *handle, int status) {
  char text[512];
  if (mayfly_error(handle, text, sizeof(text)) <= 0) {
    snprintf(text, sizeof(text), "%s", mayfly_strerror(status));
  }
  fprintf(stderr, "invoke: %s: %s\n", what, text);
  return EXIT_FAILURE;
}

static int invoke(mayfly_function *function, const char *event) {
  size_t size = MAYFLY_MOST_EVENT_BYTES;
  char *answer = malloc(size);
  if (answer == NULL) return EXIT_FAILURE;
  const int status = mayfly_invoke(function, event, strlen(event), NULL, answer, &size);
  if (status == MAYFLY_OK) fwrite(answer, 1, size, stdout);
  free(answer);
  return status == MAYFLY_OK ? EXIT_SUCCESS : report("invoke", function, status);
}

static int run(mayfly_instance *lib, const char *path, const char *event) {
  mayfly_snapshot *snapshot;
  int status = mayfly_snapshot_open(lib, path, NULL, &snapshot);
  if (status != MAYFLY_OK) return report("open", lib, status);
  mayfly_function *clone;
  status = mayfly_restore(snapshot, NULL, &clone);
  int result;
  if (status == MAYFLY_OK) {
    result = invoke(clone, event);
    mayfly_function_close(clone);
  } else {
    result = report("restore", snapshot, status);
  }
  mayfly_snapshot_close(snapshot);
  return result;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: invoke SNAPSHOT EVENT\n");
    return 2;
  }
  mayfly_instance *lib;
  const int status = mayfly_open(NULL, &lib);
  if (status != MAYFLY_OK) return report("mayfly", NULL, status);
  const int result = run(lib, argv[1], argv[2]);
  mayfly_close(lib);
  return result;
}
