// Zygotes: what makes jailed clones.
#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "vmm/capi/arguments.h"
#include "vmm/capi/entry.h"
#include "vmm/capi/snapshot_object.h"
#include "vmm/capi/zygote_object.h"
#include "vmm/zygote/zygote_limits.h"

namespace mayfly::capi {
namespace {

// Where the command is installed: as seen from this library, or from the program that it is linked
// into, if they were moved together.
std::string InstalledCommand() {
  Dl_info self{};
  if (::dladdr(reinterpret_cast<const void*>(&mayfly_zygote_start), &self) != 0) {
    std::string file = self.dli_fname;
    // A program's own name is as it was typed: from there, a command of the working directory's
    // would be started.
    if (!file.starts_with('/')) {
      std::error_code none;
      file = std::filesystem::read_symlink("/proc/self/exe", none);
    }
    for (const char* from : {MAYFLY_COMMAND_FROM_LIBRARY, "../bin/mayfly"}) {
      const std::string command = file.substr(0, file.rfind('/') + 1) + from;
      if (file.starts_with('/') && ::access(command.c_str(), X_OK) == 0) return command;
    }
  }
  return MAYFLY_COMMAND;
}

Status Start(const SnapshotObject& snapshot, const mayfly_zygote_options* options,
             mayfly_zygote** out) {
  TRY(CheckOut(out));
  mayfly_zygote_options given{};
  TRY(ReadOptions(options, &given));
  const FunctionTemplate& opened = *snapshot.opened();
  if (given.count > kMostZygoteStock) {
    return FailWith(MAYFLY_E_TOO_LARGE, fmt::format("count: {} are the most", kMostZygoteStock));
  }
  if (opened.net_count() > 0) {
    return FailWith(MAYFLY_E_UNSUPPORTED, "zygote: not for snapshots with network devices");
  }
  std::string program = TRY(ReadText(given.program, "program"));
  if (program.empty()) program = InstalledCommand();
  const std::string limit = TRY(ReadText(given.limit, "limit"));
  std::vector<std::string> arguments{program,
                                     "zygote",
                                     opened.path(),
                                     "--manifest=" + opened.manifest_digest(),
                                     "--image=" + opened.image().path(),
                                     fmt::format("--stock={}", given.count)};
  if (!limit.empty()) arguments.push_back("--limit=" + limit);
  if (!opened.uses_working_set()) arguments.emplace_back("--no-working-set");
  std::shared_ptr<ZygoteProcess> process =
      TRY(ZygoteProcess::Start(program, std::move(arguments), {opened.memory_fd()}));
  TRY(WithContext(process->WaitReady(), "zygote"));
  Library& library = snapshot.library();
  return Publish(library,
                 std::make_unique<ZygoteObject>(&library, snapshot.opened(), std::move(process)),
                 out);
}

}  // namespace
}  // namespace mayfly::capi

using namespace mayfly;
using namespace mayfly::capi;

int mayfly_zygote_start(mayfly_snapshot* snapshot, const struct mayfly_zygote_options* options,
                        mayfly_zygote** out) {
  return Enter<SnapshotObject>(
      snapshot, [&](const SnapshotObject& self) { return Start(self, options, out); });
}

int mayfly_zygote_close(mayfly_zygote* zygote) { return CloseHandle<ZygoteObject>(zygote); }
