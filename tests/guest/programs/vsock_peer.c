// The guest's end of the vsock tests; a static program in their initrd.
//   vsock_peer many PORT COUNT     opens COUNT connections to the host, then uses each of them
//   vsock_peer stream PORT MIB     sends MIB mebibytes, then receives to the end; prints the hashes
//   vsock_peer echo PORT COUNT     accepts COUNT connections, one after the other, and echoes
#include <linux/vm_sockets.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/guest/programs/pattern.h"

static void die(const char* what) {
  perror(what);
  exit(1);
}

static struct sockaddr_vm address_of(unsigned cid, const char* port) {
  struct sockaddr_vm address = {.svm_family = AF_VSOCK};
  address.svm_cid = cid;
  address.svm_port = (unsigned)atoi(port);
  return address;
}

static int connect_to(const char* port) {
  const int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) die("socket");
  const struct sockaddr_vm address = address_of(VMADDR_CID_HOST, port);
  if (connect(fd, (const struct sockaddr*)&address, sizeof(address)) != 0) die("connect");
  return fd;
}

static void send_all(int fd, const void* bytes, size_t size) {
  const char* from = bytes;
  while (size > 0) {
    const ssize_t count = send(fd, from, size, MSG_NOSIGNAL);
    if (count <= 0) die("send");
    from += count;
    size -= (size_t)count;
  }
}

static void many(const char* port, int count) {
  const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) die("setrlimit");
  int* fds = calloc((size_t)count, sizeof(int));
  for (int i = 0; i < count; ++i) fds[i] = connect_to(port);
  // The last one first: all are open at the same time.
  for (int i = count - 1; i >= 0; --i) send_all(fds[i], &i, sizeof(i));
  for (int i = 0; i < count; ++i) {
    int answer = 0;
    if (recv(fds[i], &answer, sizeof(answer), MSG_WAITALL) != sizeof(answer)) die("recv");
    if (answer != i + 1) exit(2);
    close(fds[i]);
  }
  printf("%d connections\n", count);
}

static void stream(const char* port, uint64_t mebibytes) {
  static uint64_t words[PATTERN_WORDS];
  const int fd = connect_to(port);
  uint64_t sent = PATTERN_HASH_START;
  for (uint64_t i = 0; i < mebibytes * PATTERN_CHUNKS_PER_MIB; ++i) {
    pattern_fill(words, i);
    sent = pattern_hash(words, sent);
    send_all(fd, words, sizeof(words));
  }
  shutdown(fd, SHUT_WR);
  uint64_t received = PATTERN_HASH_START;
  uint64_t chunks = 0;
  while (recv(fd, words, sizeof(words), MSG_WAITALL) == (ssize_t)sizeof(words)) {
    received = pattern_hash(words, received);
    ++chunks;
  }
  printf("sent %016llx received %016llx in %llu chunks\n", (unsigned long long)sent,
         (unsigned long long)received, (unsigned long long)chunks);
}

static void echo(const char* port, int count) {
  const int listener = socket(AF_VSOCK, SOCK_STREAM, 0);
  const struct sockaddr_vm address = address_of(VMADDR_CID_ANY, port);
  if (bind(listener, (const struct sockaddr*)&address, sizeof(address)) != 0) die("bind");
  if (listen(listener, 128) != 0) die("listen");
  printf("listening\n");
  fflush(stdout);
  char bytes[4096];
  while (count-- > 0) {
    const int fd = accept(listener, NULL, NULL);
    if (fd < 0) die("accept");
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof(bytes), 0)) > 0) send_all(fd, bytes, (size_t)got);
    close(fd);
  }
  printf("all echoed\n");
}

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  if (strcmp(argv[1], "many") == 0) many(argv[2], atoi(argv[3]));
  if (strcmp(argv[1], "stream") == 0) stream(argv[2], (uint64_t)atoll(argv[3]));
  if (strcmp(argv[1], "echo") == 0) echo(argv[2], atoi(argv[3]));
  return 0;
}
