#include "vmm/cli/cmd_pager.h"

#include <CLI/App.hpp>
#include <climits>

#include "vmm/cli/arguments.h"

namespace mayfly {

void AddPagerCommand(CLI::App& app, PagerArguments& arguments) {
  CLI::App* command = app.add_subcommand(
      "pager",
      "Fill the memory of machines that are restored from a snapshot, as their page faults ask");
  command->add_option("snapshot", arguments.directory, "The snapshot")
      ->required()
      ->type_name("DIR");
  command
      ->add_option("--socket", arguments.socket,
                   "Where machines find it (mayfly invoke --pager); must not exist yet")
      ->type_name("PATH");
  command
      ->add_option("--fd", arguments.fd,
                   "Serve the one machine at this connected socket instead, which is inherited")
      ->type_name("N");
  command->add_flag("--unverified", arguments.unverified,
                    "Do not compare the memory with its digests");
  command->add_flag("--no-working-set", arguments.no_working_set, "Do not fill it ahead");
  command->footer(
      "Example:\n"
      "  mayfly pager hello.snap --socket /tmp/hello.pager &\n"
      "  mayfly invoke hello.snap --memory uffd --pager /tmp/hello.pager\n"
      "\n"
      "It serves until SIGINT or SIGTERM. docs/pager-protocol.md says how to write another one.\n");
}

Result<PagerCommandOptions> PreparePager(const PagerArguments& arguments) {
  PagerCommandOptions options{arguments.directory, arguments.socket, -1, arguments.unverified,
                              !arguments.no_working_set};
  if (arguments.socket.empty() == arguments.fd.empty()) {
    return Fail(ErrorCode::kInvalidArgument, "one of --socket and --fd is needed");
  }
  if (arguments.fd.empty()) {
    TRY(WithContext(CheckSocketPath(arguments.socket), "--socket"));
  } else {
    options.fd = static_cast<int>(TRY(WithContext(ParseCount(arguments.fd, 0, INT_MAX), "--fd")));
  }
  return options;
}

}  // namespace mayfly
