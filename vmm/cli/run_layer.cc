#include "vmm/cli/run_layer.h"

#include <fmt/format.h>

#include "base/log.h"
#include "snapshot/verified_stamp.h"
#include "vmm/cli/clone_function.h"
#include "vmm/cli/driven_machine.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/machine/function_manifest.h"

namespace mayfly {
namespace {

class LayerRun {
 public:
  explicit LayerRun(const LayerOptions& options) : options_(options) {}

  Result<int> Run() {
    const FunctionClone clone = TRY(CloneFunction(options_.restore, driver_.log(), &log_));
    const auto signals =
        TRY(SignalWatcher::Create([&](int) { clone.machine->Interrupt("interrupted by a signal"); },
                                  SignalWatcher::Callback()));
    DrivenMachine driven(clone.machine.get(), clone.name, clone.timeout_ms);
    const int warmed = driver_.InvokeAll(driven);
    const int status = warmed == 0 ? Save(clone, driven) : warmed;
    clone.machine->Stop();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return status;
  }

 private:
  int Save(const FunctionClone& clone, const DrivenFunction& driven) const {
    const auto saved = SaveOver(clone);
    if (!saved) return ReportMachineFailure(saved.error(), driven);
    return options_.json ? ReportSaved(*saved) : 0;
  }

  [[nodiscard]] Result<FunctionMachine::Saved> SaveOver(const FunctionClone& clone) const {
    const VerifiedStamps stamps = TRY(VerifiedStamps::Open(StampDirectory()));
    Snapshot parent = TRY(Snapshot::Open(options_.restore.directory));
    std::vector<std::string> taps;
    taps.reserve(options_.restore.nets.size());
    for (const NetOptions& net : options_.restore.nets) taps.push_back(net.tap);
    Manifest manifest = TRY(ManifestOfLayer(parent, ToHex(clone.snapshot.manifest_digest()),
                                            options_.restore.image, taps));
    auto writer = TRY(SnapshotWriter::Create(options_.directory, std::move(parent)));
    return clone.machine->SaveSnapshot(std::move(writer), std::move(manifest), &stamps);
  }

  const LayerOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.restore.invoke};
};

}  // namespace

int RunLayer(const LayerOptions& options) {
  const Result<int> status = LayerRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
