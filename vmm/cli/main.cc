#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "vmm/cli/command_line.h"
#include "vmm/cli/manage_snapshots.h"
#include "vmm/cli/output.h"
#include "vmm/cli/run_bench.h"
#include "vmm/cli/run_function.h"
#include "vmm/cli/run_layer.h"
#include "vmm/cli/run_machine.h"
#include "vmm/cli/run_pager.h"
#include "vmm/cli/run_record.h"
#include "vmm/cli/run_restore.h"
#include "vmm/cli/run_snapshot.h"
#include "vmm/cli/run_zygote.h"
#include "vmm/cli/snapshot_reports.h"

namespace mayfly {
namespace {

struct Execute {
  int operator()(const HelpText& help) const { return PrintText(help.text); }
  int operator()(const DoctorArguments& arguments) const { return RunDoctor(arguments); }
  int operator()(const BuildArguments& arguments) const { return RunBuild(arguments); }
  int operator()(const NetArguments& arguments) const { return RunNet(arguments); }
  int operator()(const BenchArguments& arguments) const {
    const auto options = PrepareBench(arguments);
    return options ? RunBench(*options) : ReportError(options.error());
  }
  int operator()(const VersionArguments& arguments) const {
    return PrintText(VersionText(arguments));
  }
  int operator()(const RunArguments& arguments) const {
    const auto options = PrepareRun(arguments);
    return options ? RunFunction(*options) : ReportError(options.error());
  }
  int operator()(const SnapshotArguments& arguments) const {
    if (!arguments.info.empty()) return ReportSnapshot(arguments.info, arguments.json);
    if (!arguments.verify.empty()) return RunVerify(arguments.verify);
    if (!arguments.flatten.empty()) return RunFlatten(arguments.flatten, arguments.flatten_output);
    if (!arguments.garbage.empty()) {
      return RunGarbageCollection(arguments.garbage, arguments.keep, arguments.dry_run);
    }
    if (!arguments.record.directory.empty()) {
      const auto options = PrepareRecord(arguments);
      return options ? RunRecord(*options) : ReportError(options.error());
    }
    if (std::filesystem::is_directory(arguments.run.image)) {
      const auto options = PrepareLayer(arguments);
      return options ? RunLayer(*options) : ReportError(options.error());
    }
    const auto options = PrepareSnapshot(arguments);
    return options ? RunSnapshot(*options) : ReportError(options.error());
  }
  int operator()(const InvokeArguments& arguments) const {
    const auto options = PrepareInvoke(arguments);
    return options ? RunRestore(*options) : ReportError(options.error());
  }
  int operator()(const PagerArguments& arguments) const {
    const auto options = PreparePager(arguments);
    return options ? RunPager(*options) : ReportError(options.error());
  }
  int operator()(const ZygoteArguments& arguments) const {
    const auto options = PrepareZygote(arguments);
    return options ? RunZygote(*options) : ReportError(options.error());
  }
  int operator()(const VmArguments& arguments) const {
    const auto options = PrepareVm(arguments);
    return options ? RunMachine(*options) : ReportError(options.error());
  }
};

}  // namespace
}  // namespace mayfly

int main(int argc, char** argv) {
  try {
    const auto command = mayfly::ParseCommandLine(std::vector<std::string>(argv + 1, argv + argc));
    if (!command) return mayfly::ReportError(command.error());
    return std::visit(mayfly::Execute(), *command);
  } catch (const std::exception& failure) {
    // Nothing of ours throws but the standard library when memory runs out.
    return mayfly::ReportError(mayfly::Error(mayfly::ErrorCode::kHost, failure.what()));
  }
}
