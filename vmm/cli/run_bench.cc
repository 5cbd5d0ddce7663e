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

Result<std::string> Measure(const BenchOptions& options) {
  std::vector<RestoreCase> cases;
  for (const uint32_t memory : options.memories_mib) {
    for (const std::string& way : options.ways) cases.push_back(CaseOf(options, memory, way));
  }
  const char* const temporary = std::getenv("TMPDIR");
  RestoreBenchOptions bench;
  bench.guest = options.guest;
  bench.directory = temporary != nullptr ? temporary : "/tmp";
  bench.runs = options.runs;
  bench.on_row = [&, count = 0](const RestoreRow& row) mutable {
    const std::string line = fmt::format("{} of {}: {} MiB, {}\n", ++count, cases.size(),
                                         row.what.memory_mib, NameOf(row.what));
    (void)WriteAll(STDERR_FILENO, AsBytes(line), "standard error");
  };
  const std::vector<RestoreRow> rows = TRY(RunRestoreBench(cases, bench));
  return options.json ? RestoreJson(rows) : RestoreTable(rows);
}

}  // namespace

int RunBench(const BenchOptions& options) {
  const Result<std::string> text = Measure(options);
  return text ? PrintText(*text) : ReportError(text.error());
}

}  // namespace mayfly
