#pragma once

#include <string>
#include <variant>
#include <vector>

#include "base/result.h"
#include "vmm/cli/cmd_bench.h"
#include "vmm/cli/cmd_build.h"
#include "vmm/cli/cmd_doctor.h"
#include "vmm/cli/cmd_invoke.h"
#include "vmm/cli/cmd_net.h"
#include "vmm/cli/cmd_pager.h"
#include "vmm/cli/cmd_run.h"
#include "vmm/cli/cmd_snapshot.h"
#include "vmm/cli/cmd_version.h"
#include "vmm/cli/cmd_vm.h"
#include "vmm/cli/cmd_zygote.h"

namespace mayfly {

// What --help asks for.
struct HelpText {
  std::string text;
};

using Command = std::variant<HelpText, DoctorArguments, BuildArguments, RunArguments,
                             SnapshotArguments, InvokeArguments, PagerArguments, VmArguments,
                             NetArguments, BenchArguments, VersionArguments, ZygoteArguments>;

// Splits the arguments behind the program's name into a subcommand and its options. The values of
// options are looked at later. Errors are kInvalidArgument, one line.
Result<Command> ParseCommandLine(const std::vector<std::string>& arguments);

}  // namespace mayfly
