#include "vmm/cli/run_bench.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <optional>
#include <thread>

#include "base/file.h"
#include "vmm/bench/bench_page.h"
#include "vmm/bench/bench_report.h"
#include "vmm/bench/restore_bench.h"
#include "vmm/bench/shell_bench.h"
#include "vmm/bench/storm_bench.h"
#include "vmm/cli/bench_functions.h"
#include "vmm/cli/output.h"
#include "vmm/machine/function_manifest.h"

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

// A file that is there whole or not at all. Opened before anything is measured for nothing.
class PageFile {
 public:
  static Result<PageFile> Create(const std::string& path) {
    std::string temporary = fmt::format("{}.{}.new", path, ::getpid());
    UniqueFd file =
        TRY(WithContext(OpenFile(temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644), "--html"));
    return PageFile(path, std::move(temporary), std::move(file));
  }
  PageFile(PageFile&&) = default;
  PageFile& operator=(PageFile&&) = delete;
  ~PageFile() {
    if (file_.valid()) ::unlink(temporary_.c_str());
  }

  Result<void> Write(const std::string& html) {
    TRY(WriteAll(file_.get(), AsBytes(html), path_));
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) return FailErrno("rename " + temporary_);
    file_.Reset();
    return {};
  }

 private:
  PageFile(std::string path, std::string temporary, UniqueFd file)
      : path_(std::move(path)), temporary_(std::move(temporary)), file_(std::move(file)) {}

  std::string path_;
  std::string temporary_;
  UniqueFd file_;
};

MachineFacts FactsOfThisMachine() {
  utsname system{};
  ::uname(&system);
  return {{"processor", HostCpuName()},
          {"processors", std::to_string(std::thread::hardware_concurrency())},
          {"kernel", fmt::format("{} {} {}", system.sysname, system.release, system.machine)},
          {"memory", fmt::format("{} MiB", (static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                                            static_cast<uint64_t>(::sysconf(_SC_PAGE_SIZE))) >>
                                               20)},
          {"page cache", "warm"},
          {"mayfly", MAYFLY_VERSION}};
}

Result<std::string> MeasureRestores(const BenchOptions& options) {
  std::optional<PageFile> page;
  if (!options.html.empty()) page.emplace(TRY(PageFile::Create(options.html)));
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
  if (page) TRY(page->Write(RestorePageHtml(rows, FactsOfThisMachine())));
  return options.json ? RestoreJson(rows) : RestoreTable(rows);
}

Result<std::string> MeasureShells(const BenchOptions& options) {
  const ShellTimes times = TRY(RunShellBench(options.guest, TemporaryDirectory(), options.runs));
  return options.json ? ShellJson(times) : ShellTable(times);
}

Result<std::string> MeasureStorm(const BenchOptions& options) {
  const StormResult result =
      TRY(RunStormBench(options.guest, TemporaryDirectory(), options.clones, options.threads));
  return options.json ? StormJson(result) : StormTable(result);
}

Result<std::string> MeasureFunctions(const BenchOptions& options) {
  std::vector<FunctionBenchRow> rows;
  if (options.kind == BenchKind::kBoot) {
    rows.push_back(TRY(MeasureBoots(options.boot, options.runs)));
  } else {
    rows = TRY(MeasureAnswers(options.invoke, options.fills, options.runs));
  }
  return options.json ? FunctionBenchJson(rows, options.runs) : FunctionBenchTable(rows);
}

Result<std::string> Measure(const BenchOptions& options) {
  switch (options.kind) {
    case BenchKind::kRestore:
      return MeasureRestores(options);
    case BenchKind::kFaults:
      return MeasureFaults(options);
    case BenchKind::kShells:
      return MeasureShells(options);
    case BenchKind::kStorm:
      return MeasureStorm(options);
    case BenchKind::kBoot:
    case BenchKind::kInvoke:
      return MeasureFunctions(options);
  }
  return Fail(ErrorCode::kInvalidArgument, "no such bench");
}

}  // namespace

int RunBench(const BenchOptions& options) {
  const Result<std::string> text = Measure(options);
  return text ? PrintText(*text) : ReportError(text.error());
}

}  // namespace mayfly
