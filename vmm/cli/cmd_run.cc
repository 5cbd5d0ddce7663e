#include "vmm/cli/cmd_run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <array>
#include <climits>

#include "base/control_protocol.h"
#include "base/file.h"
#include "base/json.h"
#include "vmm/cli/arguments.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/function/description.h"

namespace mayfly {
namespace {

constexpr uint64_t kMostRepeats = 1'000'000;

constexpr char kExamples[] =
    "Examples:\n"
    "  mayfly run hello.mfn --event '{\"name\":\"Ada\"}'\n"
    "  mayfly run hello.mfn --event @event.json --json\n"
    "  echo '{}' | mayfly run hello.mfn --event - --memory 512M --timeout 10s\n";

Result<std::string> ExecutableDirectory() {
  std::array<char, PATH_MAX> target{};
  const ssize_t length = ::readlink("/proc/self/exe", target.data(), target.size());
  if (length < 0) return FailErrno("read /proc/self/exe");
  const std::string path(target.data(), static_cast<size_t>(length));
  return path.substr(0, path.rfind('/'));
}

bool HasPrograms(const std::string& directory) {
  return ::access((directory + "/init").c_str(), R_OK) == 0 &&
         ::access((directory + "/handler").c_str(), R_OK) == 0;
}

Result<std::vector<uint8_t>> CheckEventSize(std::vector<uint8_t> event) {
  if (event.size() > control::kMaxEvent) {
    return Fail(ErrorCode::kTooLarge, fmt::format("event: {} bytes, {} are the most allowed",
                                                  event.size(), control::kMaxEvent));
  }
  return event;
}

template <class Number>
Result<std::optional<uint32_t>> Optional(const std::string& text, Number parse,
                                         std::string_view option) {
  if (text.empty()) return std::optional<uint32_t>();
  const uint64_t number = TRY(WithContext(parse(text), option));
  return std::optional(static_cast<uint32_t>(number));
}

}  // namespace

void AddFunctionOptions(CLI::App& command, RunArguments& arguments) {
  command.add_option("--event", arguments.event, "The event: itself, @FILE, or - for stdin")
      ->type_name("JSON|@FILE|-")
      ->capture_default_str();
  command.add_option("--memory", arguments.memory, "The guest's memory, such as 512M or 2G")
      ->type_name("SIZE");
  command.add_option("--vcpus", arguments.vcpus, "The guest's CPUs, 1 to 32")->type_name("N");
  command.add_option("--timeout", arguments.timeout, "For one invocation, such as 3s or 500ms")
      ->type_name("TIME");
  command.add_option("--net", arguments.nets, "A network device on a tap; several are possible")
      ->type_name("tap=NAME[,KEY=VALUE...]")
      ->allow_extra_args(false);
  command.add_option("--kernel", arguments.kernel, "A guest kernel, or a bundle directory")
      ->type_name("PATH");
  command
      .add_option("--guest-dir", arguments.guest_directory,
                  "The directory with the guest's init and handler programs")
      ->type_name("DIR");
  command.add_flag("--console", arguments.console, "Show the guest's console on stderr");
  command.add_flag("--no-verify", arguments.no_verify, "Do not check the image's digest");
}

void AddRunCommand(CLI::App& app, RunArguments& arguments) {
  CLI::App* command =
      app.add_subcommand("run", "Boot a microVM, run a function in it, print its answer");
  command->add_option("image", arguments.image, "The function image (mayfly build makes one)")
      ->required()
      ->type_name("NAME.mfn");
  AddFunctionOptions(*command, arguments);
  command->add_flag("--json", arguments.json, "Print answer, log and timings as JSON");
  command->add_option("--repeat", arguments.repeat, "Invoke the function so many times")
      ->type_name("N");
  command
      ->add_option("--metrics", arguments.metrics,
                   "Write metrics there at the end and on SIGUSR1 (JSON if it ends in .json)")
      ->type_name("FILE");
  AddJailOptions(*command, arguments.jail);
  command->footer(kExamples);
}

Result<std::vector<uint8_t>> ReadEvent(const std::string& text) {
  if (text == "-" || text.starts_with('@')) {
    const std::string path = text == "-" ? "/dev/stdin" : text.substr(1);
    return WithContext(ReadFile(path, control::kMaxEvent), "event");
  }
  const auto bytes = AsBytes(text);
  return CheckEventSize({bytes.begin(), bytes.end()});
}

Result<GuestPrograms> FindGuestPrograms(const std::string& directory) {
  std::vector<std::string> places{directory};
  if (directory.empty()) {
    const std::string here = TRY(ExecutableDirectory());
    places = {here + "/../guest", here + "/../libexec/mayfly"};
  }
  for (const std::string& place : places) {
    if (HasPrograms(place)) return GuestPrograms{place};
  }
  return Fail(ErrorCode::kNotFound,
              fmt::format("guest programs: no init and handler in {} (scripts/build makes them)",
                          fmt::join(places, " or ")));
}

Result<RunOptions> PrepareRun(const RunArguments& arguments) {
  RunOptions options;
  options.image = arguments.image;
  options.invoke.json = arguments.json;
  options.console = arguments.console;
  options.verify = !arguments.no_verify;
  options.metrics = arguments.metrics;
  if (!options.metrics.empty()) TRY(MetricsFile::CheckPath(options.metrics));
  const auto repeat = TRY(Optional(
      arguments.repeat, [](const auto& text) { return ParseCount(text, 1, kMostRepeats); },
      "--repeat"));
  options.invoke.repeat = repeat.value_or(1);
  options.memory_mib = TRY(Optional(
      arguments.memory,
      [](const auto& text) {
        return ParseMemoryMib(text, FunctionDescription::kLeastMemoryMib,
                              FunctionDescription::kMostMemoryMib);
      },
      "--memory"));
  options.vcpus = TRY(Optional(
      arguments.vcpus,
      [](const auto& text) { return ParseCount(text, 1, FunctionDescription::kMostVcpus); },
      "--vcpus"));
  options.timeout_ms = TRY(Optional(
      arguments.timeout,
      [](const auto& text) {
        return ParseDurationMs(text, 1, FunctionDescription::kMostTimeoutMs);
      },
      "--timeout"));
  if (options.memory_mib) TRY(CheckHostMemory(*options.memory_mib));

  options.nets = TRY(ParseNets(arguments.nets));
  TRY(CheckNets(options.nets));

  options.jail = TRY(PrepareJail(arguments.jail));
  options.invoke.event = TRY(ReadEvent(arguments.event));
  options.kernel_path = arguments.kernel.empty() ? TRY(FindDefaultKernel()) : arguments.kernel;
  options.kernel = TRY(ResolveKernel(options.kernel_path));
  options.guest = TRY(FindGuestPrograms(arguments.guest_directory));
  return options;
}

}  // namespace mayfly
