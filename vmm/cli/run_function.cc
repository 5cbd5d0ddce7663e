#include "vmm/cli/run_function.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "base/log.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/function/image.h"
#include "vmm/function/image_verifier.h"
#include "vmm/function/initrd.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

Result<FunctionMachineConfig> BootConfigOf(const RunOptions& options, const FunctionImage& image) {
  FunctionMachineConfig config;
  config.description = image.description();
  if (options.memory_mib) config.description.memory_mib = *options.memory_mib;
  if (options.vcpus) config.description.vcpus = *options.vcpus;
  if (options.timeout_ms) config.description.timeout_ms = *options.timeout_ms;
  config.image_name = options.image;
  config.image = TRY(image.fd().Duplicate());
  config.kernel = options.kernel.kernel;
  config.initrd =
      TRY(BuildInitrd({options.guest.init, options.guest.handler, options.kernel.modules}));
  for (const NetOptions& net : options.nets) {
    config.nets.push_back(NetConfigOf(net));
    config.addresses.push_back(net.address);
  }
  if (options.console) config.console_output = STDERR_FILENO;
  return config;
}

namespace {

using Clock = std::chrono::steady_clock;

class FunctionRun {
 public:
  explicit FunctionRun(const RunOptions& options) : options_(options) {}

  Result<int> Run() {
    const auto start = Clock::now();
    FunctionImage image = TRY(FunctionImage::Open(options_.image));
    FunctionMachineConfig config = TRY(BootConfigOf(options_, image));
    std::optional<ImageVerifier> verifier;
    if (options_.verify) verifier.emplace(std::move(image));
    const uint32_t timeout_ms = config.description.timeout_ms;
    const std::string name = config.description.name;
    const auto machine = TRY(FunctionMachine::Boot(std::move(config), driver_.log(), &log_));
    MetricsFile metrics(options_.metrics, &log_);
    metrics.Attach(&machine->metrics());
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) {
          if (verifier) verifier->Cancel();
          machine->Interrupt("interrupted by a signal");
        },
        metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback()));

    const Result<void> verified = verifier ? verifier->Wait() : Result<void>();
    const int status =
        verified ? RunIn(*machine, name, timeout_ms, start) : ReportError(verified.error());
    machine->Stop();
    metrics.Detach();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return status;
  }

 private:
  int RunIn(FunctionMachine& machine, const std::string& name, uint32_t timeout_ms,
            Clock::time_point start) {
    const Result<void> loaded = machine.Load();
    if (!loaded) return ReportMachineFailure(loaded.error(), machine);
    driver_.report().SetLoaded(machine.timings(), start);
    return driver_.Finish(driver_.InvokeAll(machine, name, timeout_ms));
  }

  const RunOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.invoke};
};

}  // namespace

int RunFunction(const RunOptions& options) {
  const Result<int> status = FunctionRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
