#include "vmm/bench/shell_bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <sys/mman.h>

#include "base/file.h"
#include "vmm/bench/bare_machine.h"
#include "vmm/bench/bench_report.h"
#include "vmm/bench/clone_source.h"
#include "vmm/bench/jailed_clone.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

Result<double> MeasureFloor(const CloneSource& source) {
  const auto prepared = PreparedVcpu::Of(source.state().vcpus.front());
  const UniqueFd kvm = TRY(OpenFile("/dev/kvm", O_RDWR));
  const uint64_t size = source.state().memory_bytes;
  const Mapping memory = TRY(Mapping::AnonymousHuge(size));
  BareMachine shell = TRY(BareMachine::CreateShell(kvm.get(), *prepared, {memory.data(), size}));

  const auto start = Clock::now();
  if (::mmap(memory.data(), size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE,
             source.memory_fd(), 0) == MAP_FAILED) {
    return FailErrno("map a file");
  }
  TRY(shell.SetState(*prepared));
  // A new generation, which is all that the guest waits for.
  reinterpret_cast<RestorePage*>(memory.data() + layout::kRestorePage.value)->generation = 1;
  TRY(shell.RunTo(kDoorbellBegun));
  return MicrosecondsSince(start);
}

Result<double> MeasureClone(const CloneSource& source, std::unique_ptr<Shell> shell) {
  GuestMarks marks;
  const auto start = Clock::now();
  const auto machine = TRY(source.Clone(std::move(shell), &marks));
  const GuestTimes times = TRY(marks.WaitDone(start));
  return std::chrono::duration<double, std::micro>(times.first_instruction).count();
}

Result<void> RunOnce(const CloneSource& source, JailedClones& jailed, ShellTimes& times) {
  times.pooled_floor_us.push_back(TRY(MeasureFloor(source)));
  auto shell = TRY(Shell::Create(source.state()));
  times.pooled_us.push_back(TRY(MeasureClone(source, std::move(shell))));
  times.unpooled_us.push_back(TRY(MeasureClone(source, nullptr)));
  times.jailed_us.push_back(TRY(jailed.Measure()));
  return {};
}

}  // namespace

Result<ShellTimes> RunShellBench(const std::string& guest, const std::string& directory,
                                 uint32_t runs) {
  const auto source = TRY(CloneSource::Create(guest, directory));
  const auto jailed = TRY(JailedClones::Start(source.get()));
  ShellTimes warm_up;
  TRY(RunOnce(*source, *jailed, warm_up));
  ShellTimes times;
  for (uint32_t run = 0; run < runs; ++run) TRY(RunOnce(*source, *jailed, times));
  return times;
}

std::string ShellTable(const ShellTimes& times) {
  std::string text = fmt::format("{:<14} {:>8} {:>8}\n", "", "median", "p99");
  for (const auto& [name, values] : {std::pair{"pooled floor", &times.pooled_floor_us},
                                     {"pooled", &times.pooled_us},
                                     {"unpooled", &times.unpooled_us},
                                     {"jailed", &times.jailed_us}}) {
    text += fmt::format("{:<14} {:>8.0f} {:>8.0f}\n", name, Percentile(*values, 0.5),
                        Percentile(*values, 0.99));
  }
  return text;
}

std::string ShellJson(const ShellTimes& times) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.SetMaxDecimalPlaces(1);
  writer.StartObject();
  writer.Key("runs");
  writer.Uint64(times.pooled_us.size());
  for (const auto& [name, values] : {std::pair{"pooled_us", &times.pooled_us},
                                     {"pooled_floor_us", &times.pooled_floor_us},
                                     {"unpooled_us", &times.unpooled_us},
                                     {"jailed_us", &times.jailed_us}}) {
    writer.Key(name);
    writer.StartObject();
    writer.Key("p50");
    writer.Double(Percentile(*values, 0.5));
    writer.Key("p99");
    writer.Double(Percentile(*values, 0.99));
    writer.EndObject();
  }
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace mayfly
