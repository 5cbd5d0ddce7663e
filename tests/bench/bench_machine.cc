#include "tests/bench/bench_machine.h"

#include <fmt/format.h>
#include <poll.h>
#include <x86intrin.h>

#include <cstddef>
#include <thread>

#include "tests/integration/guests/bench.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_builder.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kMostMilliseconds = 60'000;
constexpr size_t kKeptSamples = 20'000;  // Of each run, evenly spread over it.
constexpr GuestAddress kResult{BENCH_RESULT};

struct ResultHead {
  uint64_t ticks;
  uint64_t operations;
  uint64_t bytes;
  uint64_t all_operations;
  uint64_t samples_count;
};
static_assert(sizeof(ResultHead) == offsetof(bench_result, samples));

double TicksPerMicrosecond() {
  const auto start = Clock::now();
  const uint64_t first = __rdtsc();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const uint64_t last = __rdtsc();
  const std::chrono::duration<double, std::micro> elapsed = Clock::now() - start;
  return static_cast<double>(last - first) / elapsed.count();
}

Result<std::vector<double>> ReadSamples(const GuestMemory& memory, uint64_t count,
                                        double ticks_per_microsecond) {
  std::vector<double> microseconds;
  const uint64_t step = count / kKeptSamples + 1;
  for (uint64_t i = 0; i < count; i += step) {
    uint32_t ticks = 0;
    if (!memory.ReadValue(kResult + (sizeof(ResultHead) + i * sizeof(ticks)), &ticks)) {
      return Fail(ErrorCode::kGuest, "the guest's samples are not in its memory");
    }
    microseconds.push_back(ticks / ticks_per_microsecond);
  }
  return microseconds;
}

}  // namespace

BenchMachine::BenchMachine() : ticks_per_microsecond_(TicksPerMicrosecond()) {}

Result<Measurement> BenchMachine::Run(MachineConfig config, const std::string& part, double seconds,
                                      const std::string& numbers) const {
  config.kernel = MAYFLY_TEST_GUESTS "/bench";
  config.memory_bytes = kMemory;
  config.rng = true;  // A device whose registers can be read, and the last.
  const auto ticks = static_cast<uint64_t>(seconds * 1e6 * ticks_per_microsecond_);
  config.command_line = fmt::format("{} {}{}", part, ticks, numbers);
  Machine::Parts parts = TRY(MachineBuilder(std::move(config), nullptr).Build());
  const GuestMemory& memory = *parts.memory;
  const MmioMetrics& transport = parts.transports.front()->metrics();
  Machine machine(std::move(parts));
  machine.Resume();
  pollfd ended{machine.end_fd(), POLLIN, 0};
  (void)::poll(&ended, 1, kMostMilliseconds);
  machine.Stop();
  if (machine.end()->reason != EndReason::kPowerOff) {
    return Fail(ErrorCode::kGuest, fmt::format("{}: the guest did not end", part));
  }
  ResultHead head{};
  if (!memory.ReadValue(kResult, &head) || head.operations == 0 ||
      head.samples_count > BENCH_MOST_SAMPLES) {
    return Fail(ErrorCode::kGuest, fmt::format("{}: the guest has measured nothing", part));
  }
  Measurement measured;
  measured.seconds = static_cast<double>(head.ticks) / ticks_per_microsecond_ / 1e6;
  measured.operations = head.operations;
  measured.bytes = head.bytes;
  measured.microseconds = TRY(ReadSamples(memory, head.samples_count, ticks_per_microsecond_));
  if (head.all_operations != 0) {
    measured.kicks =
        static_cast<double>(transport.kicks.value()) / static_cast<double>(head.all_operations);
  }
  return measured;
}

}  // namespace mayfly
