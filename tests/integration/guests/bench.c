// Measures the devices from inside. The command line is the name of a part and its numbers, the
// first of which is for how many ticks of the time stamp counter to measure.
#include "bench_guest.h"

enum { UNUSED_PORT = 0x80 };

static int started;
static uint64_t start;

struct bench_result* result(void) { return (struct bench_result*)BENCH_RESULT; }

void begin(uint64_t now) {
  started = 1;
  start = now;
  result()->samples_count = 0;
}

int begun(void) { return started; }

void sample(uint64_t ticks) {
  struct bench_result* r = result();
  if (!started || r->samples_count == BENCH_MOST_SAMPLES) return;
  r->samples[r->samples_count++] = ticks < UINT32_MAX ? (uint32_t)ticks : UINT32_MAX;
}

void finish(uint64_t now, uint64_t operations, uint64_t bytes) {
  struct bench_result* r = result();
  r->ticks = now - start;
  r->operations = operations;
  r->bytes = bytes;
}

void kick_if_wanted(struct device* device, int index, uint16_t old) {
  const struct queue* queue = &device->queues[index];
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  const uint16_t new = queue->avail.index;
  const uint16_t event = *(const volatile uint16_t*)&queue->used.avail_event;
  if ((uint16_t)(new - event - 1) < (uint16_t)(new - old)) queue_kick(device, index);
}

void want_no_interrupt(struct queue* queue) {
  *(volatile uint16_t*)&queue->avail.used_event = (uint16_t)(queue->next_used + 0x7fff);
}

static void bench_exit(const numbers n, int mmio) {
  const uint64_t end = rdtsc() + n[0];
  uint64_t operations = 0;
  begin(rdtsc());
  uint64_t before = rdtsc();
  while (before < end) {
    if (mmio) {
      (void)read32(VIRTIO_BASE + REG_MAGIC);
    } else {
      outb(UNUSED_PORT, 0);
    }
    const uint64_t now = rdtsc();
    sample(now - before);
    before = now;
    ++operations;
  }
  finish(rdtsc(), operations, 0);
}

// "word 12 345": the numbers behind the word.
static void parse(const char* text, numbers n) {
  int count = -1;
  for (; *text != 0; ++text) {
    if (*text == ' ') {
      if (++count == MOST_NUMBERS) fail("too many numbers");
      n[count] = 0;
    } else if (count >= 0) {
      n[count] = n[count] * 10 + (uint64_t)(*text - '0');
    }
  }
}

static int is(const char* command_line, const char* word) {
  const size_t length = strlen(word);
  return strlen(command_line) > length && memcmp(command_line, word, length) == 0 &&
         command_line[length] == ' ';
}

int guest_main(const char* command_line) {
  numbers n = {0};
  parse(command_line, n);
  refused_features = 0;
  memset(result(), 0, sizeof(struct bench_result));
  if (is(command_line, "mmio-exit")) bench_exit(n, 1);
  if (is(command_line, "port-exit")) bench_exit(n, 0);
  if (is(command_line, "read")) bench_read(n, 0);
  if (is(command_line, "write")) bench_read(n, 1);
  if (is(command_line, "net-kick")) bench_net_kick(n);
  if (is(command_line, "net-send")) bench_net_send(n);
  if (is(command_line, "net-receive")) bench_net_receive(n);
  if (is(command_line, "vsock-round-trip")) bench_vsock_round_trip(n);
  if (is(command_line, "vsock-send")) bench_vsock_send(n);
  if (is(command_line, "vsock-receive")) bench_vsock_receive(n);
  return started ? 0 : 1;
}
