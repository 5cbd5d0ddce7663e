#include "vmm/cli/cmd_build.h"

#include <fmt/format.h>

#include <CLI/App.hpp>

#include "vmm/cli/output.h"
#include "vmm/function/builder.h"
#include "vmm/function/interrupts.h"

namespace mayfly {
namespace {

constexpr char kExamples[] =
    "The directory holds the handler and mayfly.json, for example\n"
    "  {\"name\": \"hello\", \"kind\": \"native\", \"handler\": \"handler.so\"}\n"
    "\n"
    "Examples:\n"
    "  mayfly build examples/hello -o hello.mfn\n";

}  // namespace

void AddBuildCommand(CLI::App& app, BuildArguments& arguments) {
  CLI::App* command = app.add_subcommand("build", "Pack a directory into a function image");
  command->add_option("directory", arguments.directory, "The function's directory")
      ->required()
      ->type_name("DIR");
  command->add_option("-o,--output", arguments.output, "The function image to write")
      ->required()
      ->type_name("NAME.mfn");
  command->footer(kExamples);
}

int RunBuild(const BuildArguments& arguments) {
  const auto interrupts = Interrupts::Create();
  if (!interrupts) return ReportError(interrupts.error());
  const auto summary = BuildFunctionImage(arguments.directory, arguments.output, *interrupts);
  if (!summary) {
    const int status = ReportError(summary.error());
    const int signal = interrupts->Take();
    return signal != 0 ? ExitStatusOfSignal(signal) : status;
  }
  fmt::print(stderr, "{}: {} files, {} bytes, image of {} bytes, sha256 {}\n", arguments.output,
             summary->files, summary->bytes, summary->image_bytes, ToHex(summary->image_digest));
  return static_cast<int>(ExitCode::kSuccess);
}

}  // namespace mayfly
