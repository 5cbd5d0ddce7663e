#include "vmm/cli/run_restore.h"

#include "base/log.h"
#include "vmm/cli/clone_function.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

class RestoreRun {
 public:
  explicit RestoreRun(const RestoreOptions& options) : options_(options) {}

  Result<int> Run() {
    const auto start = Clock::now();
    const FunctionClone clone = TRY(CloneFunction(options_, driver_.log(), &log_));
    FunctionMachine& machine = *clone.machine;
    MetricsFile metrics(options_.metrics, &log_);
    metrics.Attach(&machine.metrics());
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) { machine.Interrupt("interrupted by a signal"); },
        metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback()));
    driver_.report().SetRestored(machine.timings(), start);
    int status = driver_.Finish(driver_.InvokeAll(machine, clone.name, clone.timeout_ms));
    if (status == 0 && options_.record) status = Record(machine);
    machine.Stop();
    metrics.Detach();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return status;
  }

 private:
  int Record(const FunctionMachine& machine) const {
    const Result<void> written = WriteWorkingSet(options_.directory, machine.pager()->TakeRecord());
    return written ? 0 : ReportError(written.error());
  }

  const RestoreOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.invoke};
};

}  // namespace

int RunRestore(const RestoreOptions& options) {
  const Result<int> status = RestoreRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
