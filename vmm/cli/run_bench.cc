#include "vmm/cli/run_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

#include "base/file.h"
#include "vmm/bench/bench_report.h"
#include "vmm/bench/restore_bench.h"
#include "vmm/cli/output.h"

namespace mayfly {
namespace {

RestoreCase CaseOf(const BenchOptions& options, uint32_t memory_mib, std::string_view way) {
  RestoreCase what;
  what.memory_mib = memory_mib;
  what.working_set_mib = options.working_set_mib;
  what.ahead = !way.contains("-lazy");
  if (way.starts_with("uffd")) what.way = MemoryWay::kUffd;
  if (way == "eager") what.way = MemoryWay::kEager;
  if (way.ends_with("-page")) what.run_bytes = GuestMemory::kPageSize;
  return what;
}

void ReportProgress(size_t count, size_t of, const std::string& row) {
  // Nobody may be there to read it.
  IgnoreFailure(WriteAll(STDERR_FILENO, AsBytes(fmt::format("{} of {}: {}\n", count, of, row)),
                         "standard error"));
}

std::string TemporaryDirectory() {
  const char* const directory = std::getenv("TMPDIR");
  return directory != nullptr ? directory : "/tmp";
}

Result<std::string> MeasureFaults(const BenchOptions& options) {
  std::vector<FaultCase> cases;
  for (const uint64_t run_bytes : {GuestMemory::kPageSize, MemoryLayout::kChunk}) {
    for (const bool random : {false, true}) cases.push_back({random, run_bytes, options.pages});
  }
  FaultBenchOptions bench;
  bench.guest = options.guest;
  bench.directory = TemporaryDirectory();
  bench.runs = options.runs;
  bench.on_row = [&, count = 0u](const FaultRow& row) mutable {
    ReportProgress(++count, cases.size(),
                   fmt::format("{}, {} KiB", NameOf(row.what), row.what.run_bytes >> 10));
  };
  const std::vector<FaultRow> rows = TRY(RunFaultBench(cases, bench));
  return options.json ? FaultJson(rows) : FaultTable(rows);
}

Result<std::string> MeasureRestores(const BenchOptions& options) {
  std::vector<RestoreCase> cases;
  for (const uint32_t memory : options.memories_mib) {
    for (const std::string& way : options.ways) cases.push_back(CaseOf(options, memory, way));
  }
  RestoreBenchOptions bench;
  bench.guest = options.guest;
  bench.directory = TemporaryDirectory();
  bench.runs = options.runs;
  bench.on_row = [&, count = 0u](const RestoreRow& row) mutable {
    ReportProgress(++count, cases.size(),
                   fmt::format("{} MiB, {}", row.what.memory_mib, NameOf(row.what)));
  };
  const std::vector<RestoreRow> rows = TRY(RunRestoreBench(cases, bench));
  return options.json ? RestoreJson(rows) : RestoreTable(rows);
}

}  // namespace

int RunBench(const BenchOptions& options) {
  const Result<std::string> text =
      options.faults ? MeasureFaults(options) : MeasureRestores(options);
  return text ? PrintText(*text) : ReportError(text.error());
}

}  // namespace mayfly
