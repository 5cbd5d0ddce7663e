#include "vmm/cli/command_line.h"

#include <fmt/format.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>

namespace mayfly {
namespace {

constexpr char kDescription[] = "mayfly runs functions in microVMs, through KVM.";
constexpr char kFooter[] =
    "Examples:\n"
    "  mayfly doctor\n"
    "  mayfly build examples/hello -o hello.mfn\n"
    "  mayfly run hello.mfn --event '{\"name\":\"Ada\"}'\n"
    "  mayfly snapshot hello.mfn -o hello.snap\n"
    "  mayfly invoke hello.snap --event '{\"name\":\"Ada\"}'\n"
    "\n"
    "mayfly SUBCOMMAND --help says more. docs/exit-codes.md lists the exit codes.\n";

// All subcommands' arguments, and the parser that fills them.
class Parser {
 public:
  Parser() : app_(kDescription, "mayfly") {
    app_.require_subcommand(1);
    app_.footer(kFooter);
    app_.add_flag("--version", version_, "Print the version");
    AddDoctorCommand(app_, doctor_);
    AddBuildCommand(app_, build_);
    AddRunCommand(app_, run_);
    AddSnapshotCommand(app_, snapshot_);
    AddInvokeCommand(app_, invoke_);
    AddPagerCommand(app_, pager_);
    AddZygoteCommand(app_, zygote_);
    AddVmCommand(app_, vm_);
    AddNetCommand(app_, net_);
    AddBenchCommand(app_, bench_);
    AddVersionCommand(app_, version_arguments_);
  }

  Result<Command> Parse(std::vector<std::string> arguments) {
    if (arguments == std::vector<std::string>{"--version"}) return VersionArguments{};
    std::ranges::reverse(arguments);  // As CLI11 wants them.
    try {
      app_.parse(std::move(arguments));
    } catch (const CLI::CallForHelp&) {
      return HelpText{app_.help()};
    } catch (const CLI::ParseError& error) {
      return UsageError(error.what());
    }
    if (app_.got_subcommand("doctor")) return doctor_;
    if (app_.got_subcommand("build")) return build_;
    if (app_.got_subcommand("run")) return run_;
    if (app_.got_subcommand("snapshot")) return snapshot_;
    if (app_.got_subcommand("invoke")) return invoke_;
    if (app_.got_subcommand("pager")) return pager_;
    if (app_.got_subcommand("zygote")) return zygote_;
    if (app_.got_subcommand("vm")) return vm_;
    if (app_.got_subcommand("net")) return net_;
    if (app_.got_subcommand("bench")) return bench_;
    return version_arguments_;
  }

 private:
  [[nodiscard]] std::unexpected<Error> UsageError(std::string message) const {
    std::ranges::replace(message, '\n', ' ');
    const auto chosen = app_.get_subcommands();
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{} (see mayfly {}{}--help)", message,
                    chosen.empty() ? "" : chosen.front()->get_name(), chosen.empty() ? "" : " "));
  }

  CLI::App app_;
  bool version_ = false;
  DoctorArguments doctor_;
  BuildArguments build_;
  RunArguments run_;
  SnapshotArguments snapshot_;
  InvokeArguments invoke_;
  PagerArguments pager_;
  ZygoteArguments zygote_;
  VmArguments vm_;
  NetArguments net_;
  BenchArguments bench_;
  VersionArguments version_arguments_;
};

}  // namespace

Result<Command> ParseCommandLine(const std::vector<std::string>& arguments) {
  return Parser().Parse(arguments);
}

}  // namespace mayfly
