#include "vmm/cli/bench_functions.h"

#include <fmt/format.h>

#include <chrono>

#include "base/log.h"
#include "vmm/bench/bench_report.h"
#include "vmm/cli/booted_function.h"
#include "vmm/cli/clone_function.h"
#include "vmm/cli/driven_machine.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

double MicrosecondsBetween(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::micro>(to - from).count();
}

// One invocation whose answer is none that counts is a failure of the bench.
Result<void> Ask(DrivenFunction& function, const InvokeOptions& options) {
  const InvocationResult result = TRY(function.Invoke(options.event));
  if (!result.error) return {};
  return Fail(ErrorCode::kHandler,
              fmt::format("{}: {}", result.error->type, result.error->message));
}

// What a handler logs would be in the way of the table.
FunctionSession::LogCallback NoLog() {
  return [](const LogChunk&) {};
}

using Times = std::vector<Clock::time_point>;

// The moments between the stages of a boot.
Result<Times> BootOnce(const RunOptions& options, LogSink* log) {
  const Clock::time_point start = Clock::now();
  const auto function = TRY(BootedFunction::Open(options, {}, log));
  TRY(function->Boot());
  TRY(function->Ready());
  TRY(Ask(*function, options.invoke));
  const Clock::time_point answered = Clock::now();
  const FunctionMachine::Timings at = TRY(function->timings());
  return Times{start, at.created, at.hello, at.ready, answered};
}

Result<Times> AnswerOnce(const RestoreOptions& options, LogSink* log) {
  const Clock::time_point start = Clock::now();
  const FunctionClone clone = TRY(CloneFunction(options, NoLog(), log));
  const Clock::time_point restored = Clock::now();
  DrivenMachine driven(clone.machine.get(), clone.name, clone.timeout_ms);
  TRY(Ask(driven, options.invoke));
  return Times{start, restored, Clock::now()};
}

FunctionBenchRow RowOf(std::string way, std::initializer_list<const char*> keys) {
  FunctionBenchRow row{std::move(way), {}};
  for (const char* key : keys) row.stages.push_back({key, {}});
  return row;
}

// `times` has one more than the row has stages before its last, which is all of them.
void Add(FunctionBenchRow& row, const Times& times) {
  for (size_t i = 0; i + 1 < times.size(); ++i) {
    row.stages[i].microseconds.push_back(MicrosecondsBetween(times[i], times[i + 1]));
  }
  row.stages.back().microseconds.push_back(MicrosecondsBetween(times.front(), times.back()));
}

std::string_view NameOf(FillMemory way) {
  switch (way) {
    case FillMemory::kMap:
      return "map";
    case FillMemory::kUffd:
      return "uffd";
    case FillMemory::kEager:
      return "eager";
  }
  return "?";
}

}  // namespace

Result<FunctionBenchRow> MeasureBoots(const RunOptions& options, uint32_t runs) {
  StderrLog log(LogLevel::kWarning);
  FunctionBenchRow row = RowOf("", {"prepare_us", "boot_us", "load_us", "answer_us", "total_us"});
  TRY(BootOnce(options, &log));
  for (uint32_t run = 0; run < runs; ++run) Add(row, TRY(BootOnce(options, &log)));
  return row;
}

Result<std::vector<FunctionBenchRow>> MeasureAnswers(const RestoreOptions& options,
                                                     const std::vector<FillMemory>& ways,
                                                     uint32_t runs) {
  StderrLog log(LogLevel::kWarning);
  std::vector<FunctionBenchRow> rows;
  rows.reserve(ways.size());
  for (const FillMemory way : ways) {
    rows.push_back(RowOf(std::string(NameOf(way)), {"restore_us", "answer_us", "total_us"}));
  }
  for (uint32_t run = 0; run <= runs; ++run) {
    for (size_t i = 0; i < ways.size(); ++i) {
      RestoreOptions restore = options;
      restore.memory = ways[i];
      const Times times = TRY(AnswerOnce(restore, &log));
      if (run > 0) Add(rows[i], times);
    }
  }
  return rows;
}

std::string FunctionBenchTable(const std::vector<FunctionBenchRow>& rows) {
  std::string text =
      fmt::format("{:6} {:8} {:>9} {:>9} {:>9}\n", "way", "stage", "p50", "p90", "p99");
  for (const FunctionBenchRow& row : rows) {
    for (const BenchStage& stage : row.stages) {
      text += fmt::format("{:6} {:8}", row.way.empty() ? "boot" : row.way,
                          stage.key.substr(0, stage.key.size() - 3));
      for (const double share : {0.5, 0.9, 0.99}) {
        text += fmt::format(" {:>9.0f}", Percentile(stage.microseconds, share));
      }
      text += '\n';
    }
  }
  return text;
}

std::string FunctionBenchJson(const std::vector<FunctionBenchRow>& rows, uint32_t runs) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartArray();
  for (const FunctionBenchRow& row : rows) {
    writer.StartObject();
    writer.Key("way");
    writer.String(row.way.empty() ? "boot" : row.way.c_str());
    writer.Key("page_cache");
    writer.String("warm");
    writer.Key("runs");
    writer.Uint(runs);
    for (const BenchStage& stage : row.stages) {
      PutPercentiles(writer, stage.key.c_str(), stage.microseconds);
    }
    writer.EndObject();
  }
  writer.EndArray();
  return std::string(buffer.GetString()) + "\n";
}

}  // namespace mayfly
