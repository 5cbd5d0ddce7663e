#include "vmm/cli/cmd_snapshot.h"

#include <CLI/App.hpp>

#include "vmm/cli/arguments.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostWarmings = 100'000;
constexpr uint64_t kMostRuns = 1000;

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly snapshot hello.mfn -o hello.snap\n"
    "  mayfly snapshot hello.mfn -o hello.snap --warm 10 --event '{\"name\":\"Ada\"}'\n"
    "  mayfly invoke hello.snap --event '{\"name\":\"Bob\"}'\n"
    "  mayfly snapshot info hello.snap\n"
    "  mayfly snapshot verify hello.snap\n"
    "  mayfly snapshot hello.snap -o warm.snap --warm 100\n"
    "  mayfly snapshot flatten warm.snap -o whole.snap\n"
    "  mayfly snapshot record whole.snap --event '{\"name\":\"Bob\"}' --runs 5\n"
    "  mayfly snapshot gc . --keep whole.snap --dry-run\n";

void AddFlatten(CLI::App& command, SnapshotArguments& arguments) {
  CLI::App* flatten =
      command.add_subcommand("flatten", "Copy a snapshot and what it lies over into one");
  flatten->add_option("snapshot", arguments.flatten, "The snapshot")->required()->type_name("DIR");
  flatten->add_option("-o,--output", arguments.flatten_output, "A directory to be made")
      ->required()
      ->type_name("DIR");
}

void AddGarbage(CLI::App& command, SnapshotArguments& arguments) {
  CLI::App* gc = command.add_subcommand(
      "gc", "Remove what killed writers left, and snapshots that nobody needs");
  gc->add_option("directory", arguments.garbage, "The directory that the snapshots stand in")
      ->required()
      ->type_name("DIR");
  gc->add_option("--keep", arguments.keep,
                 "Remove all but these and what they lie over; several are possible")
      ->type_name("NAME")
      ->allow_extra_args(false);
  gc->add_flag("--dry-run", arguments.dry_run, "Only say what would be removed");
}

void AddRecord(CLI::App& command, SnapshotArguments& arguments) {
  CLI::App* record = command.add_subcommand(
      "record", "Find out which pages a snapshot's first answer needs, to fill them ahead");
  record->add_option("snapshot", arguments.record.directory, "The snapshot")
      ->required()
      ->type_name("DIR");
  record->add_option("--event", arguments.record.event, "The event: itself, @FILE, or - for stdin")
      ->type_name("JSON|@FILE|-")
      ->capture_default_str();
  record->add_option("--runs", arguments.runs, "Restore it so many times")
      ->type_name("N")
      ->capture_default_str();
  record->add_flag("--add", arguments.add, "Keep the pages that were recorded before too");
  record->add_option("--timeout", arguments.record.timeout, "For one invocation")
      ->type_name("TIME");
  record->add_option("--image", arguments.record.image, "The function's image, if it was moved")
      ->type_name("NAME.mfn");
}

Result<uint32_t> ParseWarmings(const std::string& text) {
  if (text.empty()) return uint32_t{0};
  const uint64_t count = TRY(WithContext(ParseCount(text, 0, kMostWarmings), "--warm"));
  return static_cast<uint32_t>(count);
}

}  // namespace

void AddSnapshotCommand(CLI::App& app, SnapshotArguments& arguments) {
  CLI::App* command =
      app.add_subcommand("snapshot", "Save a function that is ready for its first event");
  command
      ->add_option("image", arguments.run.image,
                   "The function image (mayfly build makes one), or a snapshot to go on from")
      ->type_name("NAME.mfn|DIR");
  command->add_option("-o,--output", arguments.output, "The snapshot, a directory to be made")
      ->type_name("DIR");
  command->add_option("--warm", arguments.warm, "Hand it the event so many times before")
      ->type_name("N");
  command->add_flag("--json", arguments.json,
                    "Print how long the machine stood still and what was written, as JSON");
  AddFunctionOptions(*command, arguments.run);
  command->require_subcommand(0, 1);
  CLI::App* info = command->add_subcommand("info", "Describe a snapshot");
  info->add_option("snapshot", arguments.info, "The snapshot")->required()->type_name("DIR");
  info->add_flag("--json", arguments.json, "As JSON");
  CLI::App* verify =
      command->add_subcommand("verify", "Compare all of a snapshot with its digests");
  verify->add_option("snapshot", arguments.verify, "The snapshot")->required()->type_name("DIR");
  AddFlatten(*command, arguments);
  AddGarbage(*command, arguments);
  AddRecord(*command, arguments);
  command->footer(kExamples);
}

Result<SnapshotOptions> PrepareSnapshot(const SnapshotArguments& arguments) {
  if (arguments.run.image.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "snapshot: NAME.mfn is missing (see mayfly snapshot --help)");
  }
  if (arguments.output.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "snapshot: -o DIR is missing (see mayfly snapshot --help)");
  }
  SnapshotOptions options;
  options.run = TRY(PrepareRun(arguments.run));
  options.run.invoke.repeat = TRY(ParseWarmings(arguments.warm));
  options.run.invoke.json = options.json = arguments.json;
  options.directory = arguments.output;
  return options;
}

Result<LayerOptions> PrepareLayer(const SnapshotArguments& arguments) {
  if (arguments.output.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "snapshot: -o DIR is missing (see mayfly snapshot --help)");
  }
  const RunArguments& run = arguments.run;
  if (!run.memory.empty() || !run.vcpus.empty() || !run.kernel.empty() ||
      !run.guest_directory.empty()) {
    return Fail(ErrorCode::kInvalidArgument,
                "snapshot: --memory, --vcpus, --kernel and --guest-dir are for an image, not for "
                "a snapshot");
  }
  InvokeArguments invoke;
  invoke.directory = run.image;
  invoke.event = run.event;
  invoke.timeout = run.timeout;
  invoke.nets = run.nets;
  invoke.console = run.console;
  LayerOptions options;
  options.restore = TRY(PrepareInvoke(invoke));
  options.restore.invoke.repeat = TRY(ParseWarmings(arguments.warm));
  options.restore.invoke.json = options.json = arguments.json;
  options.directory = arguments.output;
  return options;
}

Result<RecordOptions> PrepareRecord(const SnapshotArguments& arguments) {
  InvokeArguments invoke = arguments.record;
  invoke.memory = "uffd";
  invoke.record = true;
  RecordOptions options;
  options.restore = TRY(PrepareInvoke(invoke));
  options.runs =
      static_cast<uint32_t>(TRY(WithContext(ParseCount(arguments.runs, 1, kMostRuns), "--runs")));
  options.add = arguments.add;
  return options;
}

}  // namespace mayfly
