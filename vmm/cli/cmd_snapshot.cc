#include "vmm/cli/cmd_snapshot.h"

#include <CLI/App.hpp>

#include "vmm/cli/arguments.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostWarmings = 100'000;

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly snapshot hello.mfn -o hello.snap\n"
    "  mayfly snapshot hello.mfn -o hello.snap --warm 10 --event '{\"name\":\"Ada\"}'\n"
    "  mayfly invoke hello.snap --event '{\"name\":\"Bob\"}'\n"
    "  mayfly snapshot info hello.snap\n"
    "  mayfly snapshot verify hello.snap\n";

}  // namespace

void AddSnapshotCommand(CLI::App& app, SnapshotArguments& arguments) {
  CLI::App* command =
      app.add_subcommand("snapshot", "Save a function that is ready for its first event");
  command->add_option("image", arguments.run.image, "The function image (mayfly build makes one)")
      ->type_name("NAME.mfn");
  command->add_option("-o,--output", arguments.output, "The snapshot, a directory to be made")
      ->type_name("DIR");
  command->add_option("--warm", arguments.warm, "Hand it the event so many times before")
      ->type_name("N");
  AddFunctionOptions(*command, arguments.run);
  command->require_subcommand(0, 1);
  CLI::App* info = command->add_subcommand("info", "Describe a snapshot");
  info->add_option("snapshot", arguments.info, "The snapshot")->required()->type_name("DIR");
  info->add_flag("--json", arguments.json, "As JSON");
  CLI::App* verify =
      command->add_subcommand("verify", "Compare all of a snapshot with its digests");
  verify->add_option("snapshot", arguments.verify, "The snapshot")->required()->type_name("DIR");
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
  options.run.invoke.repeat = 0;
  if (!arguments.warm.empty()) {
    options.run.invoke.repeat = static_cast<uint32_t>(
        TRY(WithContext(ParseCount(arguments.warm, 0, kMostWarmings), "--warm")));
  }
  options.directory = arguments.output;
  return options;
}

}  // namespace mayfly
