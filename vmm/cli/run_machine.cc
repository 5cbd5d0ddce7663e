#include "vmm/cli/run_machine.h"

#include <fmt/format.h>
#include <unistd.h>

#include "base/log.h"
#include "vmm/cli/disk_config.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/terminal.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_builder.h"

namespace mayfly {
namespace {

MachineConfig ConfigOf(const VmOptions& options) {
  MachineConfig config;
  config.kernel = options.kernel;
  config.initrd_path = options.initrd.value_or("");
  config.command_line = options.command_line;
  config.memory_bytes = options.memory_mib << 20;
  config.vcpu_count = options.vcpus;
  for (const DiskOptions& disk : options.disks) {
    config.disks.push_back(DiskConfigOf(disk));
  }
  for (const NetOptions& net : options.nets) config.nets.push_back(NetConfigOf(net));
  if (const auto& vsock = options.vsock) {
    config.vsock = VsockConfig{vsock->cid, vsock->path, nullptr, vsock->allow};
  }
  if (const auto& balloon = options.balloon) {
    config.balloon = BalloonConfig{balloon->target_mib << 20,
                                   std::chrono::milliseconds(balloon->stats_ms),
                                   balloon->deflate_on_oom};
  }
  config.rng = options.rng;
  config.serial_output = STDOUT_FILENO;
  return config;
}

Result<int> Run(const VmOptions& options) {
  StderrLog log(LogLevel::kWarning);
  // Declared before what calls back into it.
  std::unique_ptr<EndLatch> interrupted = TRY(EndLatch::Create());
  MetricsFile metrics(options.metrics, &log);
  const auto signals = TRY(SignalWatcher::Create(
      [&](int) { interrupted->Set({EndReason::kStopped, "a signal"}); },
      metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback()));
  const auto terminal =
      TRY(Terminal::Create([&] { interrupted->Set({EndReason::kStopped, "Ctrl-A x"}); }));

  MachineConfig config = ConfigOf(options);
  config.serial_input = terminal->input_fd();
  const std::unique_ptr<Machine> machine = TRY(MachineBuilder(std::move(config), &log).Boot());
  metrics.Attach(&machine->metrics());
  machine->Resume();
  const MachineEnd end = machine->WaitOr(*interrupted);
  machine->Stop();
  metrics.Detach();

  if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
  if (end.reason != EndReason::kPowerOff) {
    log.Write(LogLevel::kError,
              end.detail.empty()
                  ? fmt::format("machine ended: {}", NameOf(end.reason))
                  : fmt::format("machine ended: {} ({})", NameOf(end.reason), end.detail));
  }
  return static_cast<int>(ExitCodeOf(end.reason));
}

}  // namespace

int RunMachine(const VmOptions& options) {
  const Result<int> status = Run(options);
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
