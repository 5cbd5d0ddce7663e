#include "vmm/cli/cmd_version.h"

#include <fmt/format.h>

#include <CLI/App.hpp>

#include "base/control_protocol.h"
#include "vmm/function/image.h"

namespace mayfly {

void AddVersionCommand(CLI::App& app, VersionArguments& arguments) {
  CLI::App* command = app.add_subcommand("version", "Print the version");
  command->add_flag("--json", arguments.json, "Print it as JSON");
  command->footer("Examples:\n  mayfly version\n  mayfly version --json\n");
}

std::string VersionText(const VersionArguments& arguments) {
  const char* format = arguments.json
                           ? "{{\"mayfly\":\"{}\",\"function_image\":{},"
                             "\"control_protocol\":{}}}\n"
                           : "mayfly {}\nfunction image format {}\ncontrol protocol {}\n";
  return fmt::format(fmt::runtime(format), MAYFLY_VERSION, FunctionImageLayout::kVersion,
                     control::kVersion);
}

}  // namespace mayfly
