// A function that speaks the Lambda Runtime API over a plain socket, for runtimes without an HTTP
// library: one static program. Answers every event with the event.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { kMaxHead = 64 * 1024, kMaxId = 128 };

struct event {
  char request_id[kMaxId];
  char* data;  // malloc()ed
  size_t size;
};

static _Noreturn void Die(const char* what) {
  fprintf(stderr, "bootstrap: %s: %s\n", what, strerror(errno));
  exit(1);
}

// AWS_LAMBDA_RUNTIME_API is "ADDRESS:PORT".
static int Connect(const char* api) {
  char host[64];
  const char* colon = strrchr(api, ':');
  if (colon == NULL || (size_t)(colon - api) >= sizeof(host)) Die("AWS_LAMBDA_RUNTIME_API");
  memcpy(host, api, (size_t)(colon - api));
  host[colon - api] = '\0';
  struct sockaddr_in address = {.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)atoi(colon + 1))};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) Die("AWS_LAMBDA_RUNTIME_API");
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0) Die("connect");
  return fd;
}

static void SendAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = send(fd, data, size, MSG_NOSIGNAL);
    if (count < 0) Die("send");
    data += count;
    size -= (size_t)count;
  }
}

static void ReceiveAll(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t count = recv(fd, data, size, 0);
    if (count <= 0) Die("receive");
    data += count;
    size -= (size_t)count;
  }
}

// Copies the value of a header out of `head`, "" if there is none.
static void Header(const char* head, const char* name, char* value, size_t size) {
  value[0] = '\0';
  const size_t length = strlen(name);
  for (const char* line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
    const char* at = line + 2;
    if (strncasecmp(at, name, length) != 0 || at[length] != ':') continue;
    at += length + 1;
    at += strspn(at, " ");
    snprintf(value, size, "%.*s", (int)strcspn(at, "\r"), at);
    return;
  }
}

// Reads a response's head byte by byte up to its blank line, then its body.
static struct event ReceiveResponse(int fd) {
  char head[kMaxHead];
  size_t size = 0;
  do {
    if (size == sizeof(head) - 1) Die("a head of more than 64 KiB");
    ReceiveAll(fd, head + size, 1);
    head[++size] = '\0';
  } while (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4) != 0);
  struct event event;
  char length[32];
  Header(head, "Lambda-Runtime-Aws-Request-Id", event.request_id, sizeof(event.request_id));
  Header(head, "Content-Length", length, sizeof(length));
  event.size = strtoul(length, NULL, 10);
  event.data = malloc(event.size + 1);
  if (event.data == NULL) Die("memory for the event");
  ReceiveAll(fd, event.data, event.size);
  return event;
}

static struct event Get(int fd, const char* api, const char* what) {
  char head[512];
  const int size = snprintf(head, sizeof(head),
                            "GET /2018-06-01/runtime/%s HTTP/1.1\r\nHost: %s\r\n\r\n", what, api);
  SendAll(fd, head, (size_t)size);
  return ReceiveResponse(fd);
}

int main(void) {
  const char* api = getenv("AWS_LAMBDA_RUNTIME_API");
  if (api == NULL) Die("AWS_LAMBDA_RUNTIME_API is not set");
  const int fd = Connect(api);
  const char* start = getenv("AWS_LAMBDA_INITIALIZATION_TYPE");
  // A snapshot is taken while we wait here: the answer comes once for each of its lives.
  if (start != NULL && strcmp(start, "snap-start") == 0) free(Get(fd, api, "restore/next").data);
  while (1) {
    struct event event = Get(fd, api, "invocation/next");
    char head[512];
    const int size = snprintf(head, sizeof(head),
                              "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\n"
                              "Host: %s\r\nContent-Length: %zu\r\n\r\n",
                              event.request_id, api, event.size);
    SendAll(fd, head, (size_t)size);
    SendAll(fd, event.data, event.size);
    free(event.data);
    free(ReceiveResponse(fd).data);
  }
}
