#include "vmm/cli/cmd_zygote.h"

#include <CLI/App.hpp>

#include "vmm/cli/arguments.h"
#include "vmm/zygote/zygote_limits.h"

namespace mayfly {

void AddZygoteCommand(CLI::App& app, ZygoteArguments& arguments) {
  CLI::App* command = app.add_subcommand(
      "zygote", "Make jailed clones of a snapshot, for libmayfly, which starts this by itself");
  command->add_option("snapshot", arguments.directory, "The snapshot")
      ->required()
      ->type_name("DIR");
  command->add_option("--manifest", arguments.manifest, "The digest of its manifest")
      ->required()
      ->type_name("HEX");
  command->add_option("--image", arguments.image, "The function's image, if it was moved")
      ->type_name("NAME.mfn");
  command->add_option("--stock", arguments.stock, "How many clones wait ahead of their requests")
      ->type_name("N")
      ->capture_default_str();
  command->add_flag("--no-working-set", arguments.no_working_set, "Do not fill it ahead");
  command
      ->add_option("--limit", arguments.limit, "What it may take of the host with all its clones")
      ->type_name("memory=SIZE,cpu=N,processes=N,io-weight=N,file-size=SIZE");
  command->footer(
      "It inherits a socket to the process that it works for as descriptor 3, and the snapshot's\n"
      "memory as 4. docs/embedding.md says what it is for.\n");
}

Result<ZygoteCommandOptions> PrepareZygote(const ZygoteArguments& arguments) {
  ZygoteCommandOptions options;
  options.directory = arguments.directory;
  options.manifest = arguments.manifest;
  options.image = arguments.image;
  options.use_working_set = !arguments.no_working_set;
  options.stock = static_cast<uint32_t>(
      TRY(WithContext(ParseCount(arguments.stock, 0, kMostZygoteStock), "--stock")));
  JailArguments jail;
  jail.jail = true;
  jail.limit = arguments.limit;
  options.jail = TRY(PrepareJail(jail));
  return options;
}

}  // namespace mayfly
