#include "vmm/cli/cmd_bench.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <algorithm>
#include <array>
#include <string_view>

#include "vmm/cli/arguments.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/function/description.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostRuns = 100'000;
// What of the guest's memory its working set spreads over fits below 3 GiB with so many.
constexpr uint64_t kMostWorkingSetMib = 512;
constexpr std::array<std::string_view, 6> kWays{"map",       "uffd",           "eager",
                                                "map-lazy",  "uffd-lazy",      "uffd-lazy-page"};

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly bench restore\n"
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
  restore
      ->add_option("--working-set", arguments.working_set, "What the guest touches, in MiB")
      ->type_name("MIB")
      ->capture_default_str();
  restore->add_option("--runs", arguments.runs, "Of each row")->type_name("N")->capture_default_str();
  restore->add_flag("--json", arguments.json, "As JSON");
  restore
      ->add_option("--guest-dir", arguments.guest_directory,
                   "The directory with the programs that go into guests")
      ->type_name("DIR");
  restore->footer(kExamples);
}

Result<BenchOptions> PrepareBench(const BenchArguments& arguments) {
  BenchOptions options;
  options.working_set_mib = static_cast<uint32_t>(TRY(
      WithContext(ParseCount(arguments.working_set, 1, kMostWorkingSetMib), "--working-set")));
  options.runs = static_cast<uint32_t>(
      TRY(WithContext(ParseCount(arguments.runs, 1, kMostRuns), "--runs")));
  const std::vector<std::string> memories =
      arguments.memories.empty() ? std::vector<std::string>{"256M", "1G", "8G"}
                                 : arguments.memories;
  for (const std::string& memory : memories) {
    const uint64_t mebibytes = TRY(WithContext(
        ParseMemoryMib(memory, LeastMemoryMib(options.working_set_mib),
                       FunctionDescription::kMostMemoryMib),
        "--memory"));
    options.memories_mib.push_back(static_cast<uint32_t>(mebibytes));
  }
  const std::vector<std::string> ways =
      arguments.ways.empty()
          ? std::vector<std::string>{"map", "uffd", "eager", "map-lazy", "uffd-lazy"}
          : arguments.ways;
  for (const std::string& way : ways) options.ways.push_back(TRY(ParseWay(way)));
  const GuestPrograms programs = TRY(FindGuestPrograms(arguments.guest_directory));
  options.guest = programs.init.substr(0, programs.init.rfind('/')) + "/restore-guest";
  if (::access(options.guest.c_str(), R_OK) != 0) {
    return Fail(ErrorCode::kNotFound, options.guest + ": not there (scripts/build makes it)");
  }
  options.json = arguments.json;
  return options;
}

}  // namespace mayfly
