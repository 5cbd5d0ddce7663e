#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <exception>

#include "base/file.h"
#include "jailer/jail.h"
#include "jailer/report_filters.h"

namespace mayfly {
namespace {

constexpr char kDescription[] = "mayfly-jailer locks programs up as mayfly does its machines.";
constexpr char kFooter[] =
    "Examples:\n"
    "  mayfly-jailer --count-filters\n"
    "  mayfly-jailer gc\n"
    "  mayfly-jailer run --id vm1 --memory 536870912 --keep-fd 5 -- /usr/bin/vmm --kvm-fd 5\n";
constexpr int kFailed = 1;
constexpr int kUsage = 2;
constexpr int kHost = 3;

struct Arguments {
  bool print_filters = false;
  bool count_filters = false;
  std::string run_directory = JailRecord::DefaultDirectory();
  std::string id;
  std::optional<uint64_t> memory;
  std::optional<uint32_t> cpu;
  std::optional<uint32_t> processes;
  std::optional<uint64_t> file_size;
  std::optional<uint32_t> uid;
  std::vector<int> keep;
  std::vector<std::string> program;
};

int Print(std::string_view text) {
  return WriteAll(STDOUT_FILENO, AsBytes(text), "standard output") ? 0 : kHost;
}

int Report(const Error& error) {
  fmt::print(stderr, "mayfly-jailer: {}\n", error.message());
  return error.code() == ErrorCode::kInvalidArgument ? kUsage : kHost;
}

int Collect(const std::string& directory) {
  const auto collected = CollectJails(directory);
  if (!collected) return Report(collected.error());
  for (const Error& failure : collected->failures) (void)Report(failure);
  const int printed =
      Print(fmt::format("removed {}, alive {}\n", collected->removed, collected->alive));
  return collected->failures.empty() ? printed : kFailed;
}

// The program is opened before the jail, because there is no path to it inside; a static one needs
// nothing more. Filters are its own business: it knows its threads.
Result<int> Run(const Arguments& arguments) {
  JailOptions options;
  options.record_directory = arguments.run_directory;
  if (!arguments.id.empty()) options.id = TRY(JailId::Parse(arguments.id));
  options.cgroup.memory_bytes = arguments.memory;
  options.cgroup.cpu_percent = arguments.cpu;
  options.cgroup.processes = arguments.processes;
  if (arguments.file_size) options.process.file_bytes = *arguments.file_size;
  if (arguments.uid) options.user = JailUser{*arguments.uid, *arguments.uid};
  // Landlock would refuse to run it.
  options.layers.landlock = false;
  const UniqueFd program = TRY(OpenFile(arguments.program.front(), O_RDONLY));
  std::vector<char*> argv;
  argv.reserve(arguments.program.size() + 1);
  for (const std::string& argument : arguments.program) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  std::vector<int> keep = arguments.keep;
  keep.push_back(program.get());
  const auto jail = TRY(Jail::Create(std::move(options)));
  TRY(jail->Start(keep, [&] {
    char* const no_environment[] = {nullptr};
    ::fexecve(program.get(), argv.data(), no_environment);
    return Report(FailErrno("run " + arguments.program.front()).error());
  }));
  const JailEnd end = TRY(jail->Wait());
  if (end.out_of_memory) {
    return Fail(ErrorCode::kHost, "killed, because its memory limit is used up");
  }
  return end.status;
}

void AddCommands(CLI::App& app, Arguments& arguments) {
  app.footer(kFooter);
  app.add_flag("--print-filters", arguments.print_filters,
               "Print what each kind of mayfly's threads may call");
  app.add_flag("--count-filters", arguments.count_filters, "Print how much that is, as JSON");
  CLI::App* const collect =
      app.add_subcommand("gc", "Remove what jails left whose supervisors are dead");
  CLI::App* const run = app.add_subcommand("run", "Run a static program in a jail");
  for (CLI::App* const command : {collect, run}) {
    command->add_option("--run-dir", arguments.run_directory, "Where records of jails are")
        ->capture_default_str();
  }
  run->add_option("--id", arguments.id, "The jail's name");
  run->add_option("--memory", arguments.memory, "Limit, in bytes");
  run->add_option("--cpu", arguments.cpu, "Limit, in percent of one processor");
  run->add_option("--processes", arguments.processes, "Limit; threads count");
  run->add_option("--file-size", arguments.file_size, "Limit, in bytes");
  run->add_option("--uid", arguments.uid, "Its user and group");
  run->add_option("--keep-fd", arguments.keep, "A descriptor that the program gets")
      ->allow_extra_args(false);
  run->add_option("program", arguments.program, "The program and its arguments")->required();
}

int Main(int argc, char** argv) {
  CLI::App app(kDescription, "mayfly-jailer");
  Arguments arguments;
  AddCommands(app, arguments);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Print(app.help());
  } catch (const CLI::ParseError& error) {
    fmt::print(stderr, "mayfly-jailer: {}\n", error.what());
    return kUsage;
  }
  if (arguments.print_filters) return Print(FilterText());
  if (arguments.count_filters) return Print(FilterCountsJson());
  if (app.got_subcommand("gc")) return Collect(arguments.run_directory);
  if (app.got_subcommand("run")) {
    const Result<int> status = Run(arguments);
    return status ? *status : Report(status.error());
  }
  return Print(app.help());
}

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  try {
    return mayfly::Main(argc, argv);
  } catch (const std::exception& failure) {
    // Nothing of ours throws but the standard library when memory runs out.
    return mayfly::Report(mayfly::Error(mayfly::ErrorCode::kHost, failure.what()));
  }
}
