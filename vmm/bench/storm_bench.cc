#include "vmm/bench/storm_bench.h"

#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/resource.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "base/thread.h"
#include "vmm/bench/bench_report.h"
#include "vmm/bench/clone_source.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

double CpuSeconds() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Result<double> OneLife(const CloneSource& source) {
  GuestMarks marks;
  const auto start = Clock::now();
  // What the guest would do after its first instruction is nothing that is to be measured here.
  const auto on_mark = [&marks](const Machine& machine, uint32_t mark) {
    machine.RequestPause();
    marks.Note(mark);
  };
  const auto machine = TRY(source.Clone(nullptr, on_mark, {}));
  return std::chrono::duration<double, std::micro>(TRY(marks.WaitBegun(start))).count();
}

// What the threads of a storm share.
struct Storm {
  const CloneSource* source;
  std::atomic<uint32_t> left;
  Mutex mutex;
  std::vector<double> first_us GUARDED_BY(mutex);
  Result<void> result GUARDED_BY(mutex){};
};

void RunStormThread(Storm* storm) {
  uint32_t left = storm->left.load();
  while (left > 0) {
    if (!storm->left.compare_exchange_weak(left, left - 1)) continue;
    const Result<double> first_us = OneLife(*storm->source);
    MutexLock lock(storm->mutex);
    if (!first_us) {
      storm->result = std::unexpected(first_us.error());
      storm->left = 0;
      return;
    }
    storm->first_us.push_back(*first_us);
    left = storm->left.load();
  }
}

// A process's private memory (proc(5), smaps), that of guests by itself.
struct PrivateKib {
  double guests = 0;
  double others = 0;
};

PrivateKib PrivateMemory(const std::string& guest_path) {
  std::ifstream file("/proc/self/smaps");
  PrivateKib memory;
  bool guest = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("Private_")) {
      const double kib = std::strtod(line.c_str() + line.find(':') + 1, nullptr);
      (guest ? memory.guests : memory.others) += kib;
    } else if (line.find('-') < line.find(':')) {
      guest = line.ends_with(guest_path);
    }
  }
  return memory;
}

// A machine has some descriptors.
void RaiseDescriptorLimit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void LiveAtOnce(const CloneSource& source, StormResult& result) {
  RaiseDescriptorLimit();
  const PrivateKib before = PrivateMemory(source.memory_path());
  std::vector<std::unique_ptr<GuestMarks>> marks;
  std::vector<std::unique_ptr<Machine>> machines;
  result.bounded_by = "--clones";
  while (machines.size() < result.clones) {
    marks.push_back(std::make_unique<GuestMarks>());
    const auto start = Clock::now();
    Result<std::unique_ptr<Machine>> machine = source.Clone(nullptr, marks.back().get());
    if (!machine) {
      result.bounded_by = machine.error().message();
      break;
    }
    const auto begun = marks.back()->WaitBegun(start);
    machines.push_back(*std::move(machine));
    if (!begun) {
      result.bounded_by = begun.error().message();
      break;
    }
  }
  const PrivateKib after = PrivateMemory(source.memory_path());
  result.alive = static_cast<uint32_t>(machines.size());
  const double alive = std::max(1.0, static_cast<double>(result.alive));
  result.private_kib_per_clone = (after.others - before.others) / alive;
  result.guest_kib_per_clone = (after.guests - before.guests) / alive;
}

double RateOf(const StormResult& result) { return result.clones / result.seconds; }
double CpuOf(const StormResult& result) { return result.cpu_seconds * 1e3 / result.clones; }

}  // namespace

Result<StormResult> RunStormBench(const std::string& guest, const std::string& directory,
                                  uint32_t clones, uint32_t threads) {
  const auto source = TRY(CloneSource::Create(guest, directory));
  // The first life is not counted.
  [[maybe_unused]] const double first = TRY(OneLife(*source));
  StormResult result;
  result.clones = clones;
  result.threads =
      threads != 0 ? threads : std::max(2U, std::thread::hardware_concurrency() * 3 / 2);
  Storm storm{source.get(), clones, {}, {}, {}};
  const auto start = Clock::now();
  const double cpu = CpuSeconds();
  {
    std::vector<Thread> running;
    running.reserve(result.threads);
    for (uint32_t i = 0; i < result.threads; ++i) {
      running.emplace_back(fmt::format("storm-{}", i), [&storm] { RunStormThread(&storm); });
    }
  }
  result.cpu_seconds = CpuSeconds() - cpu;
  result.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  {
    MutexLock lock(storm.mutex);
    TRY(storm.result);
    result.first_us = std::move(storm.first_us);
  }
  LiveAtOnce(*source, result);
  return result;
}

std::string StormTable(const StormResult& result) {
  return fmt::format(
      "{} clones on {} threads: {:.0f} a second, {:.2f} ms of CPU each, first instruction {:.0f} "
      "us (p99 {:.0f})\n"
      "{} alive at once: {:.0f} KiB of private memory each, and {:.0f} KiB of their guests'; "
      "bounded by {}\n",
      result.clones, result.threads, RateOf(result), CpuOf(result),
      Percentile(result.first_us, 0.5), Percentile(result.first_us, 0.99), result.alive,
      result.private_kib_per_clone, result.guest_kib_per_clone, result.bounded_by);
}

std::string StormJson(const StormResult& result) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.SetMaxDecimalPlaces(3);
  writer.StartObject();
  writer.Key("clones");
  writer.Uint(result.clones);
  writer.Key("threads");
  writer.Uint(result.threads);
  for (const auto& [name, value] : {std::pair{"rate_per_s", RateOf(result)},
                                    {"cpu_ms_per_clone", CpuOf(result)},
                                    {"p50_us", Percentile(result.first_us, 0.5)},
                                    {"p99_us", Percentile(result.first_us, 0.99)},
                                    {"private_kib_per_clone", result.private_kib_per_clone},
                                    {"guest_kib_per_clone", result.guest_kib_per_clone}}) {
    writer.Key(name);
    writer.Double(value);
  }
  writer.Key("alive");
  writer.Uint(result.alive);
  writer.Key("bounded_by");
  writer.String(result.bounded_by.c_str());
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace mayfly
