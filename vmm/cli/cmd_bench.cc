#include "vmm/cli/cmd_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <bit>
#include <string_view>

#include "vmm/cli/arguments.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/function/description.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostRuns = 100'000;
constexpr uint64_t kMostThreads = 1024;
// A random pattern spreads them over 16 times as many.
constexpr uint64_t kMostPages = 32'768;
// What of the guest's memory its working set spreads over fits below 3 GiB with so many.
constexpr uint64_t kMostWorkingSetMib = 512;
constexpr std::array<std::string_view, 6> kWays{"map",      "uffd",      "eager",
                                                "map-lazy", "uffd-lazy", "uffd-lazy-page"};

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly bench restore\n"
    "  mayfly bench restore --html restore.html\n"
    "  mayfly bench restore --memory 256M --way map --way uffd --runs 1000 --json\n"
    "\n"
    "Times are in microseconds from the call that restores; docs/bench.md says what is in them.\n";

// The working set's runs of two and a half pages have gaps between them.
uint64_t LeastMemoryMib(uint32_t working_set_mib) { return 64 + working_set_mib * 4; }

Result<std::string> ParseWay(const std::string& text) {
  if (std::ranges::find(kWays, text) != kWays.end()) return text;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("--way: {}: {} are possible", text, fmt::join(kWays, ", ")));
}

Result<std::string> FindGuest(const std::string& directory, std::string_view name) {
  const GuestPrograms programs = TRY(FindGuestPrograms(directory));
  std::string path = fmt::format("{}/{}", programs.directory, name);
  if (::access(path.c_str(), R_OK) == 0) return path;
  return Fail(ErrorCode::kNotFound, path + ": not there (scripts/build makes it)");
}

void AddRuns(CLI::App& command, BenchArguments& arguments) {
  command.add_option("--runs", arguments.runs, "Of each row")
      ->type_name("N")
      ->capture_default_str();
}

// What all have.
void AddCommonOptions(CLI::App& command, BenchArguments& arguments) {
  command.add_flag("--json", arguments.json, "As JSON");
  command
      .add_option("--guest-dir", arguments.guest_directory,
                  "The directory with the programs that go into guests")
      ->type_name("DIR");
}

Result<void> PrepareRestore(const BenchArguments& arguments, BenchOptions& options) {
  options.working_set_mib = static_cast<uint32_t>(
      TRY(WithContext(ParseCount(arguments.working_set, 1, kMostWorkingSetMib), "--working-set")));
  const std::vector<std::string> memories = arguments.memories.empty()
                                                ? std::vector<std::string>{"256M", "1G", "8G"}
                                                : arguments.memories;
  for (const std::string& memory : memories) {
    const uint64_t mebibytes =
        TRY(WithContext(ParseMemoryMib(memory, LeastMemoryMib(options.working_set_mib),
                                       FunctionDescription::kMostMemoryMib),
                        "--memory"));
    options.memories_mib.push_back(static_cast<uint32_t>(mebibytes));
  }
  const std::vector<std::string> ways =
      arguments.ways.empty()
          ? std::vector<std::string>{"map", "uffd", "eager", "map-lazy", "uffd-lazy"}
          : arguments.ways;
  for (const std::string& way : ways) options.ways.push_back(TRY(ParseWay(way)));
  options.guest = TRY(FindGuest(arguments.guest_directory, "restore-guest"));
  options.html = arguments.html;
  return {};
}

Result<void> PrepareFaults(const BenchArguments& arguments, BenchOptions& options) {
  options.pages = static_cast<uint32_t>(
      TRY(WithContext(ParseCount(arguments.pages, 1, kMostPages), "--pages")));
  if (!std::has_single_bit(options.pages)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--pages: {}, but a power of two is asked for", options.pages));
  }
  options.guest = TRY(FindGuest(arguments.guest_directory, "faults-guest"));
  return {};
}

Result<void> PrepareInvokes(const BenchArguments& arguments, BenchOptions& options) {
  options.invoke = TRY(PrepareInvoke(arguments.invoke));
  const std::vector<std::string> ways =
      arguments.ways.empty() ? std::vector<std::string>{"map", "uffd", "eager"} : arguments.ways;
  for (const std::string& way : ways) {
    options.fills.push_back(TRY(WithContext(ParseFillMemory(way), "--way")));
  }
  return {};
}

void AddFunctionBenches(CLI::App& bench, BenchArguments& arguments) {
  CLI::App* boot = bench.add_subcommand(
      "boot", "Boot a function again and again: where the time until its first answer goes");
  boot->add_option("image", arguments.boot.image, "The function image")
      ->required()
      ->type_name("NAME.mfn");
  AddFunctionOptions(*boot, arguments.boot);
  boot->add_option("--runs", arguments.boots, "How often")->type_name("N")->capture_default_str();
  boot->add_flag("--json", arguments.json, "As JSON");
  boot->footer("docs/bench.md says what is in the table.\n");
  boot->callback([&arguments] { arguments.kind = BenchKind::kBoot; });
  CLI::App* invoke = bench.add_subcommand(
      "invoke", "Restore a function's snapshot again and again, until its first answer");
  invoke->add_option("snapshot", arguments.invoke.directory, "The snapshot")
      ->required()
      ->type_name("DIR");
  invoke->add_option("--event", arguments.invoke.event, "The event: itself, @FILE, or - for stdin")
      ->type_name("JSON|@FILE|-")
      ->capture_default_str();
  invoke->add_option("--way", arguments.ways, "How memory is filled; several are possible")
      ->type_name("map|uffd|eager")
      ->allow_extra_args(false);
  invoke->add_flag("--no-working-set", arguments.invoke.no_working_set, "Do not fill it ahead");
  invoke->add_option("--timeout", arguments.invoke.timeout, "For one invocation, such as 3s")
      ->type_name("TIME");
  AddRuns(*invoke, arguments);
  invoke->add_flag("--json", arguments.json, "As JSON");
  invoke->footer("docs/bench.md says what is in the table.\n");
  invoke->callback([&arguments] { arguments.kind = BenchKind::kInvoke; });
}

}  // namespace

void AddBenchCommand(CLI::App& app, BenchArguments& arguments) {
  CLI::App* command = app.add_subcommand("bench", "Measure mayfly on this machine");
  command->require_subcommand(1);
  CLI::App* restore = command->add_subcommand(
      "restore", "Restore a small guest again and again, beside the bare system calls");
  restore->add_option("--memory", arguments.memories, "The guest's memory; several are possible")
      ->type_name("SIZE")
      ->allow_extra_args(false);
  restore->add_option("--way", arguments.ways, "How it is filled; several are possible")
      ->type_name("WAY")
      ->allow_extra_args(false);
  restore->add_option("--working-set", arguments.working_set, "What the guest touches, in MiB")
      ->type_name("MIB")
      ->capture_default_str();
  restore->add_option("--html", arguments.html, "Write a page with charts there, too")
      ->type_name("FILE");
  AddRuns(*restore, arguments);
  AddCommonOptions(*restore, arguments);
  restore->footer(kExamples);
  CLI::App* faults = command->add_subcommand(
      "faults",
      "Restore a guest whose pages come by page faults, beside a bare loop that fills them");
  faults->add_option("--pages", arguments.pages, "That the guest reads: a power of two")
      ->type_name("N")
      ->capture_default_str();
  AddRuns(*faults, arguments);
  AddCommonOptions(*faults, arguments);
  faults->footer("docs/bench.md says what is in the table.\n");
  faults->callback([&arguments] { arguments.kind = BenchKind::kFaults; });
  CLI::App* shells = command->add_subcommand(
      "shells", "Restore a small guest in machines made ahead of time, and from scratch");
  AddRuns(*shells, arguments);
  AddCommonOptions(*shells, arguments);
  shells->footer("docs/bench.md says what is in the table.\n");
  shells->callback([&arguments] { arguments.kind = BenchKind::kShells; });
  CLI::App* storm = command->add_subcommand(
      "storm", "Create and destroy many clones of one snapshot on all processors");
  storm->add_option("--clones", arguments.clones, "How many, also of those that live at once")
      ->type_name("N")
      ->capture_default_str();
  storm
      ->add_option("--threads", arguments.threads,
                   "On how many threads (default: three for two processors)")
      ->type_name("N");
  AddCommonOptions(*storm, arguments);
  storm->footer("docs/bench.md says what is printed.\n");
  storm->callback([&arguments] { arguments.kind = BenchKind::kStorm; });
  AddFunctionBenches(*command, arguments);
}

Result<BenchOptions> PrepareBench(const BenchArguments& arguments) {
  BenchOptions options;
  options.kind = arguments.kind;
  const std::string& runs = options.kind == BenchKind::kBoot ? arguments.boots : arguments.runs;
  options.runs = static_cast<uint32_t>(TRY(WithContext(ParseCount(runs, 1, kMostRuns), "--runs")));
  options.json = arguments.json;
  switch (options.kind) {
    case BenchKind::kRestore:
      TRY(PrepareRestore(arguments, options));
      break;
    case BenchKind::kFaults:
      TRY(PrepareFaults(arguments, options));
      break;
    case BenchKind::kBoot:
      options.boot = TRY(PrepareRun(arguments.boot));
      break;
    case BenchKind::kInvoke:
      TRY(PrepareInvokes(arguments, options));
      break;
    case BenchKind::kStorm:
      options.clones = static_cast<uint32_t>(
          TRY(WithContext(ParseCount(arguments.clones, 1, kMostRuns), "--clones")));
      if (!arguments.threads.empty()) {
        options.threads = static_cast<uint32_t>(
            TRY(WithContext(ParseCount(arguments.threads, 1, kMostThreads), "--threads")));
      }
      [[fallthrough]];
    case BenchKind::kShells:
      options.guest = TRY(FindGuest(arguments.guest_directory, "restore-guest"));
      break;
  }
  return options;
}

}  // namespace mayfly
