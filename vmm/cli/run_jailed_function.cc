#include "vmm/cli/run_jailed_function.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "vmm/cli/confinement.h"
#include "vmm/cli/driven_machine.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/jail_handover.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/function/image.h"
#include "vmm/function/image_verifier.h"
#include "vmm/function/initrd.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

Result<FunctionMachineConfig> ConfigOf(const RunOptions& options, const FunctionImage& image) {
  FunctionMachineConfig config;
  config.description = image.description();
  if (options.memory_mib) config.description.memory_mib = *options.memory_mib;
  if (options.vcpus) config.description.vcpus = *options.vcpus;
  if (options.timeout_ms) config.description.timeout_ms = *options.timeout_ms;
  config.image_name = options.image;
  config.image = TRY(image.fd().Duplicate());
  config.kernel = options.kernel.kernel;
  config.initrd =
      TRY(BuildInitrd({options.guest.init(), options.guest.handler(), options.kernel.modules}));
  for (const NetOptions& net : options.nets) {
    config.nets.push_back(NetConfigOf(net));
    config.addresses.push_back(net.address);
  }
  if (options.console) config.console_output = STDERR_FILENO;
  return config;
}

// In two processes, of which the one in the jail opens nothing: the C API has no form for that.
class JailedRun {
 public:
  explicit JailedRun(const RunOptions& options) : options_(options) {}

  // The supervisor's half: opens what the machine needs.
  Result<int> Run() {
    start_ = Clock::now();
    PrepareForFilters();
    image_ = TRY(FunctionImage::Open(options_.image));
    config_ = TRY(ConfigOf(options_, *image_));
    std::vector<int> keep{image_->fd().get(), config_.image.get()};
    config_.jail.kernel = TRY(WithContext(OpenFile(config_.kernel, O_RDONLY), "kernel"));
    keep.push_back(config_.jail.kernel.get());
    TRY(OpenForJail(&config_.jail.kvm, &config_.nets, &keep));
    const MachineSize size{uint64_t{config_.description.memory_mib} << 20,
                           config_.description.vcpus};
    return RunConfined(options_.jail, size, std::move(keep), {options_.metrics, ""}, &log_,
                       [this](Confinement& confinement) {
                         const Result<int> status = RunIn(confinement);
                         return status ? *status : ReportError(status.error());
                       });
  }

 private:
  // The machine's half.
  Result<int> RunIn(Confinement& confinement) {
    config_.jail.threads = confinement.hooks();
    config_.jail.lock_down = confinement.lock_down();
    const uint32_t timeout_ms = config_.description.timeout_ms;
    const std::string name = config_.description.name;
    std::optional<ImageVerifier> verifier;
    if (options_.verify) verifier.emplace(*std::move(image_), config_.jail.threads.io);
    Interruption interruption;
    MetricsFile metrics(options_.metrics, &log_, confinement.metrics_writer());
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) {
          if (verifier) verifier->Cancel();
          interruption.Interrupt();
        },
        metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback(),
        confinement.lock_down()));
    const auto machine = TRY(FunctionMachine::Boot(std::move(config_), driver_.log(), &log_));
    metrics.Attach(TextOf(machine->metrics()));
    interruption.Bind([&machine] { machine->Interrupt(Interruption::kReason); });

    const Result<void> verified = verifier ? verifier->Wait() : Result<void>();
    DrivenMachine driven(machine.get(), name, timeout_ms);
    int status = verified ? Invoke(*machine, driven) : ReportError(verified.error());
    machine->Stop();
    metrics.Detach();
    if (signals->received() != 0) status = ExitStatusOfSignal(signals->received());
    return confinement.Finish(status);
  }

  int Invoke(FunctionMachine& machine, DrivenMachine& driven) {
    const Result<void> loaded = machine.Load();
    if (!loaded) return ReportMachineFailure(loaded.error(), driven);
    driver_.report().SetLoaded(machine.timings(), start_);
    return driver_.Finish(driver_.InvokeAll(driven));
  }

  const RunOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.invoke};
  Clock::time_point start_{};
  std::optional<FunctionImage> image_;
  FunctionMachineConfig config_;
};

}  // namespace

int RunJailedFunction(const RunOptions& options) {
  const Result<int> status = JailedRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
