#include "vmm/cli/cmd_invoke.h"

#include <fmt/format.h>

#include <CLI/App.hpp>

#include "vmm/cli/arguments.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/override_options.h"
#include "vmm/function/description.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostRepeats = 1'000'000;
// Below, a busy host would be taken for a stalled pager.
constexpr uint64_t kLeastPagerTimeoutMs = 100;
constexpr uint64_t kMostPagerTimeoutMs = 3'600'000;

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly invoke hello.snap --event '{\"name\":\"Ada\"}'\n"
    "  mayfly invoke hello.snap --memory uffd --record\n"
    "  mayfly invoke hello.snap --event @event.json --json\n";

Result<void> PrepareRemotePager(const InvokeArguments& arguments, RestoreOptions& options) {
  if (arguments.pager.empty()) return {};
  TRY(WithContext(CheckSocketPath(arguments.pager), "--pager"));
  if (options.memory != FillMemory::kUffd) {
    return Fail(ErrorCode::kInvalidArgument, "--pager: needs --memory uffd");
  }
  if (arguments.record) {
    return Fail(ErrorCode::kInvalidArgument, "--record: not with --pager, which sees the faults");
  }
  options.pager = arguments.pager;
  options.pager_timeout_ms = static_cast<uint32_t>(TRY(WithContext(
      ParseDurationMs(arguments.pager_timeout, kLeastPagerTimeoutMs, kMostPagerTimeoutMs),
      "--pager-timeout")));
  return {};
}

}  // namespace

void AddInvokeCommand(CLI::App& app, InvokeArguments& arguments) {
  CLI::App* command = app.add_subcommand(
      "invoke", "Restore a function from a snapshot, hand it an event, print its answer");
  command->add_option("snapshot", arguments.directory, "The snapshot (mayfly snapshot makes one)")
      ->required()
      ->type_name("DIR");
  command->add_option("--event", arguments.event, "The event: itself, @FILE, or - for stdin")
      ->type_name("JSON|@FILE|-")
      ->capture_default_str();
  command->add_flag("--json", arguments.json, "Print answer, log and timings as JSON");
  command->add_option("--repeat", arguments.repeat, "Invoke the function so many times")
      ->type_name("N");
  command
      ->add_option("--memory", arguments.memory,
                   "How memory is filled: mapped from the file, by page faults, or at once")
      ->type_name("map|uffd|eager")
      ->capture_default_str();
  command
      ->add_option("--pager", arguments.pager,
                   "Have the process that listens there fill it (uffd), or one that it starts")
      ->type_name("SOCKET|auto");
  command->add_option("--pager-timeout", arguments.pager_timeout, "How long it may take for a page")
      ->type_name("TIME")
      ->capture_default_str();
  command->add_option("--timeout", arguments.timeout, "For one invocation, such as 3s or 500ms")
      ->type_name("TIME");
  command->add_option("--net", arguments.nets, "What takes the place of a network device's tap")
      ->type_name("tap=NAME[,KEY=VALUE...]")
      ->allow_extra_args(false);
  AddOverrideOption(*command, arguments.overrides);
  command->add_option("--image", arguments.image, "The function's image, if it was moved")
      ->type_name("NAME.mfn");
  command->add_flag("--record", arguments.record,
                    "Keep the pages that this invocation touches as the working set (uffd)");
  command->add_flag("--no-working-set", arguments.no_working_set, "Do not fill it ahead");
  command->add_flag("--unverified", arguments.unverified,
                    "Do not compare the memory with its digests");
  command->add_flag("--console", arguments.console, "Show the guest's console on stderr");
  command
      ->add_option("--metrics", arguments.metrics,
                   "Write metrics there at the end and on SIGUSR1 (JSON if it ends in .json)")
      ->type_name("FILE");
  AddJailOptions(*command, arguments.jail);
  command->footer(kExamples);
}

Result<FillMemory> ParseFillMemory(const std::string& text) {
  if (text == "map") return FillMemory::kMap;
  if (text == "uffd") return FillMemory::kUffd;
  if (text == "eager") return FillMemory::kEager;
  return Fail(ErrorCode::kInvalidArgument,
              fmt::format("{}: map, uffd and eager are possible", text));
}

Result<RestoreOptions> PrepareInvoke(const InvokeArguments& arguments) {
  RestoreOptions options;
  options.directory = arguments.directory;
  options.invoke.json = arguments.json;
  if (!arguments.repeat.empty()) {
    options.invoke.repeat = static_cast<uint32_t>(
        TRY(WithContext(ParseCount(arguments.repeat, 1, kMostRepeats), "--repeat")));
  }
  options.memory = TRY(WithContext(ParseFillMemory(arguments.memory), "--memory"));
  if (!arguments.timeout.empty()) {
    options.timeout_ms = static_cast<uint32_t>(TRY(WithContext(
        ParseDurationMs(arguments.timeout, 1, FunctionDescription::kMostTimeoutMs), "--timeout")));
  }
  if (arguments.record && options.memory != FillMemory::kUffd) {
    return Fail(ErrorCode::kInvalidArgument, "--record: needs --memory uffd");
  }
  TRY(PrepareRemotePager(arguments, options));
  options.record = arguments.record;
  options.use_working_set = !arguments.no_working_set && !arguments.record;
  options.unverified = arguments.unverified;
  options.console = arguments.console;
  options.image = arguments.image;
  options.nets = TRY(ParseNets(arguments.nets));
  TRY(CheckNets(options.nets));
  options.overrides = TRY(ParseOverrideOption(arguments.overrides));
  if (options.overrides.cid) {
    return Fail(ErrorCode::kInvalidArgument,
                "--override: vsock.cid: not for a function, whose sockets lead only to mayfly");
  }
  options.metrics = arguments.metrics;
  if (!options.metrics.empty()) TRY(MetricsFile::CheckPath(options.metrics));
  options.jail = TRY(PrepareJail(arguments.jail));
  options.invoke.event = TRY(ReadEvent(arguments.event));
  return options;
}

}  // namespace mayfly
