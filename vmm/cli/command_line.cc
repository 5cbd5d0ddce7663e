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
  // To declare all options of all subcommands takes longer than a restore: where `subcommand` is
  // one of them, it is the only one.
  explicit Parser(std::string_view subcommand) : app_(kDescription, "mayfly") {
    app_.require_subcommand(1);
    app_.footer(kFooter);
    app_.add_flag("--version", version_, "Print the version");
    AddSubcommands(subcommand);
    if (app_.get_subcommands({}).empty()) AddSubcommands("");
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
    const std::string& chosen = app_.get_subcommands().front()->get_name();
    if (chosen == "doctor") return doctor_;
    if (chosen == "build") return build_;
    if (chosen == "run") return run_;
    if (chosen == "snapshot") return snapshot_;
    if (chosen == "invoke") return invoke_;
    if (chosen == "pager") return pager_;
    if (chosen == "zygote") return zygote_;
    if (chosen == "vm") return vm_;
    if (chosen == "net") return net_;
    if (chosen == "bench") return bench_;
    return version_arguments_;
  }

 private:
  // The one that is called `only`, or all if it is empty.
  void AddSubcommands(std::string_view only) {
    const auto add = [&](std::string_view name, auto add_command, auto& arguments) {
      if (only.empty() || name == only) add_command(app_, arguments);
    };
    add("doctor", AddDoctorCommand, doctor_);
    add("build", AddBuildCommand, build_);
    add("run", AddRunCommand, run_);
    add("snapshot", AddSnapshotCommand, snapshot_);
    add("invoke", AddInvokeCommand, invoke_);
    add("pager", AddPagerCommand, pager_);
    add("zygote", AddZygoteCommand, zygote_);
    add("vm", AddVmCommand, vm_);
    add("net", AddNetCommand, net_);
    add("bench", AddBenchCommand, bench_);
    add("version", AddVersionCommand, version_arguments_);
  }

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
  return Parser(arguments.empty() ? "" : arguments.front()).Parse(arguments);
}

}  // namespace mayfly
