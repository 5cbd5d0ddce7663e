#include "vmm/cli/run_function.h"

#include <chrono>

#include "base/log.h"
#include "vmm/cli/booted_function.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/output.h"
#include "vmm/cli/run_jailed_function.h"
#include "vmm/cli/signal_watcher.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

class FunctionRun {
 public:
  explicit FunctionRun(const RunOptions& options) : options_(options) {}

  Result<int> Run() {
    function_ = TRY(BootedFunction::Open(options_, {.log = driver_.log()}, &log_));
    const auto signals = TRY(SignalWatcher::Create(
        [this](int) { interruption_.Interrupt(); },
        metrics_.wanted() ? [this](int) { metrics_.Write(); } : SignalWatcher::Callback()));
    TRY(function_->Boot());
    metrics_.Attach([this](MetricsFormat format) { return function_->Metrics(format); });
    interruption_.Bind([this] { function_->Interrupt(); });
    const Result<int> invoked = Invoke();
    function_->Stop();
    metrics_.Detach();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return invoked;
  }

 private:
  Result<int> Invoke() {
    const Result<void> ready = function_->Ready();
    if (!ready) return ReportMachineFailure(ready.error(), *function_);
    driver_.report().SetLoaded(TRY(function_->timings()), start_);
    return driver_.Finish(driver_.InvokeAll(*function_));
  }

  const RunOptions& options_;
  const Clock::time_point start_ = Clock::now();
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.invoke};
  Interruption interruption_;
  MetricsFile metrics_{options_.metrics, &log_};
  std::unique_ptr<BootedFunction> function_;
};

}  // namespace

int RunFunction(const RunOptions& options) {
  if (options.jail.wanted) return RunJailedFunction(options);
  const Result<int> status = FunctionRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
