#include "vmm/cli/run_snapshot.h"

#include <fmt/format.h>

#include "base/log.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/output.h"
#include "vmm/cli/run_function.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/function/image.h"
#include "vmm/machine/function_manifest.h"

namespace mayfly {
namespace {

Result<Manifest> ManifestOf(const SnapshotOptions& options, const FunctionImage& image) {
  std::vector<std::string> taps;
  taps.reserve(options.run.nets.size());
  for (const NetOptions& net : options.run.nets) taps.push_back(net.tap);
  return ManifestOfFunction(image, taps);
}

class SnapshotRun {
 public:
  explicit SnapshotRun(const SnapshotOptions& options) : options_(options) {}

  Result<int> Run() {
    FunctionImage image = TRY(FunctionImage::Open(options_.run.image));
    // A function that lives on for months is not made of a damaged file.
    if (options_.run.verify) TRY(image.Verify());
    Manifest manifest = TRY(ManifestOf(options_, image));
    FunctionMachineConfig config = TRY(BootConfigOf(options_.run, image));
    config.snapshot = true;
    const std::string name = config.description.name;
    const uint32_t timeout_ms = config.description.timeout_ms;
    const VerifiedStamps stamps = TRY(VerifiedStamps::Open(StampDirectory()));
    const auto machine = TRY(FunctionMachine::Boot(std::move(config), driver_.log(), &log_));
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) { machine->Interrupt("interrupted by a signal"); }, SignalWatcher::Callback()));
    const int status = Save(*machine, name, timeout_ms, std::move(manifest), stamps);
    machine->Stop();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return status;
  }

 private:
  int Save(FunctionMachine& machine, const std::string& name, uint32_t timeout_ms,
           Manifest manifest, const VerifiedStamps& stamps) {
    const Result<void> loaded = machine.Load();
    if (!loaded) return ReportMachineFailure(loaded.error(), machine);
    if (machine.awaits_restore() && options_.run.invoke.repeat > 0) {
      log_.Write(LogLevel::kWarning,
                 "--warm: left out, the handler takes no events before its snapshot");
    } else {
      const int warmed = driver_.InvokeAll(machine, name, timeout_ms);
      if (warmed != 0) return warmed;
    }
    const auto saved = machine.SaveSnapshot(options_.directory, std::move(manifest), &stamps);
    if (!saved) return ReportMachineFailure(saved.error(), machine);
    return options_.json ? ReportSaved(*saved) : 0;
  }

  const SnapshotOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.run.invoke};
};

}  // namespace

int RunSnapshot(const SnapshotOptions& options) {
  const Result<int> status = SnapshotRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
