#include "vmm/cli/run_machine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "vmm/cli/clone_function.h"
#include "vmm/cli/confinement.h"
#include "vmm/cli/disk_config.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/jail_handover.h"
#include "vmm/cli/machine_saver.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/cli/terminal.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/machine_builder.h"
#include "vmm/machine/machine_manifest.h"
#include "vmm/machine/machine_restore.h"

namespace mayfly {
namespace {

// As for machines without a jail: no guest can use more.
constexpr uint64_t kMostInitrd = GuestMemory::kHoleStart;

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
    config.vsock = VsockConfig{vsock->cid.value_or(VsockOptions::kLeastCid), vsock->path, nullptr,
                               vsock->allow};
  }
  if (const auto& balloon = options.balloon) {
    config.balloon =
        BalloonConfig{balloon->target_mib << 20, std::chrono::milliseconds(balloon->stats_ms),
                      balloon->deflate_on_oom};
  }
  config.rng = options.rng;
  return config;
}

MachineBindings BindingsOf(const VmOptions& options) {
  MachineBindings bindings;
  for (const DiskOptions& disk : options.disks) bindings.disks.push_back(DiskConfigOf(disk));
  for (const NetOptions& net : options.nets) bindings.nets.push_back(NetConfigOf(net));
  if (const auto& vsock = options.vsock) {
    bindings.vsock =
        VsockConfig{.path = vsock->path, .allowed_ports = vsock->allow, .new_cid = vsock->cid};
  }
  return bindings;
}

// `options.restore` is set.
Result<std::unique_ptr<MachineRestore>> OpenRestore(const VmOptions& options) {
  const VmRestoreOptions& restore = *options.restore;
  MachineRestore::Options how{.way = WayOf(restore.memory),
                              .unverified = restore.unverified,
                              .overrides = restore.overrides};
  if (!how.unverified) how.stamps = TRY(VerifiedStamps::Open(StampDirectory()));
  return MachineRestore::Open(restore.directory, BindingsOf(options), std::move(how));
}

// A machine that goes on after its snapshot would change its disks under it.
Result<void> CheckDisksStay(const MachineConfig& config) {
  for (size_t i = 0; i < config.disks.size(); ++i) {
    if (config.disks[i].read_only) continue;
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--snapshot-to: disk{} {} is writable: the machine would go on writing "
                            "to it after its snapshot (add --snapshot-exit)",
                            i, config.disks[i].path));
  }
  return {};
}

// What takes the machine's snapshots; null if nobody wants any.
Result<std::unique_ptr<MachineSaver>> SaverFor(const VmOptions& options,
                                               const MachineConfig& config,
                                               const Confinement& confinement, LogSink* log) {
  if (!options.snapshot) return nullptr;
  if (confinement.active()) return MachineSaver::Create(*options.snapshot, &confinement, log);
  if (!options.snapshot->exit) TRY(CheckDisksStay(config));
  return MachineSaver::Create(*options.snapshot, TRY(ManifestOfMachine(config)), log);
}

// The machine's half. `restore` is null if the machine is booted.
Result<int> RunIn(const VmOptions& options, MachineConfig config, MachineRestore* restore,
                  LogSink* log, Confinement& confinement) {
  // Declared before what calls back into it.
  std::unique_ptr<EndLatch> interrupted = TRY(EndLatch::Create());
  MetricsFile metrics(options.metrics, log, confinement.metrics_writer());
  const auto saver = TRY(SaverFor(options, config, confinement, log));
  const auto signals = TRY(SignalWatcher::Create(
      [&](int) { interrupted->Set({EndReason::kStopped, "a signal"}); },
      metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback(),
      confinement.lock_down(), saver ? [&](int) { saver->Request(); } : SignalWatcher::Callback()));
  const auto terminal = TRY(Terminal::Create(
      [&] { interrupted->Set({EndReason::kStopped, "Ctrl-A x"}); }, confinement.lock_down()));

  config.serial_output = STDOUT_FILENO;
  config.serial_input = terminal->input_fd();
  config.threads = confinement.hooks();
  if (restore != nullptr) restore->memory.pager.on_start = config.threads.pager;
  const std::unique_ptr<Machine> machine =
      TRY(restore != nullptr ? restore->Start(std::move(config), log)
                             : MachineBuilder(std::move(config), log).Boot());
  metrics.Attach(TextOf(machine->metrics()));
  if (saver) saver->Attach(machine.get());
  if (const auto lock_down = confinement.lock_down()) lock_down();
  machine->Resume();
  const std::optional<MachineEnd> ended =
      saver ? saver->WaitOr(*interrupted) : machine->WaitOr(*interrupted);
  machine->Stop();
  metrics.Detach();

  if (signals->received() != 0) return confinement.Finish(ExitStatusOfSignal(signals->received()));
  // It was saved, and that was all.
  const MachineEnd end = ended.value_or(MachineEnd{EndReason::kPowerOff, ""});
  if (end.reason != EndReason::kPowerOff) {
    log->Write(LogLevel::kError,
               end.detail.empty()
                   ? fmt::format("machine ended: {}", NameOf(end.reason))
                   : fmt::format("machine ended: {} ({})", NameOf(end.reason), end.detail));
  }
  return confinement.Finish(static_cast<int>(ExitCodeOf(end.reason)));
}

Result<void> OpenKernel(MachineConfig* config, std::vector<int>* keep) {
  config->kernel_fd = TRY(WithContext(OpenFile(config->kernel, O_RDONLY), "kernel"));
  keep->push_back(config->kernel_fd.get());
  if (config->initrd_path.empty()) return {};
  config->initrd =
      TRY(WithContext(ReadFile(std::exchange(config->initrd_path, {}), kMostInitrd), "initrd"));
  return {};
}

MachineSize SizeOf(const MachineConfig& config, const MachineRestore* restore) {
  if (restore == nullptr) return {config.memory_bytes, config.vcpu_count};
  return {restore->state.memory_bytes, static_cast<uint32_t>(restore->state.vcpus.size())};
}

// The supervisor's half: opens everything. `restore` is null if the machine is booted.
Result<int> RunJailed(const VmOptions& options, MachineConfig config, MachineRestore* restore,
                      LogSink* log) {
  std::vector<int> keep;
  const MachineSize size = SizeOf(config, restore);
  std::unique_ptr<JailedSnapshot> snapshot;
  if (options.snapshot) {
    if (!options.snapshot->exit) TRY(CheckDisksStay(config));
    // Before the taps are open, which then have no names.
    Manifest manifest = TRY(ManifestOfMachine(config));
    snapshot = TRY(WithContext(
        JailedSnapshot::Create(options.snapshot->directory, std::move(manifest), size.memory_bytes),
        "snapshot"));
    keep.push_back(snapshot->memory_fd());
  }
  UniqueFd userfaultfd;
  if (restore != nullptr) {
    userfaultfd =
        TRY(WithContext(OpenForJail(*restore->image, &restore->memory, &keep), restore->directory));
  } else {
    TRY(OpenKernel(&config, &keep));
  }
  for (size_t i = 0; i < config.disks.size(); ++i) {
    TRY(WithContext(OpenForJail(&config.disks[i], &keep), fmt::format("disk{}", i)));
  }
  TRY(OpenForJail(&config.kvm, &config.nets, &keep));
  SupervisorTasks tasks{.metrics = options.metrics};
  tasks.snapshot = snapshot.get();
  if (config.vsock && !config.vsock->path.empty()) tasks.vsock = &*config.vsock;
  const SavedTerminal terminal;
  return RunConfined(
      options.jail, size, std::move(keep), tasks, log, [&](Confinement& confinement) {
        const Result<int> status = RunIn(options, std::move(config), restore, log, confinement);
        return status ? *status : ReportError(status.error());
      });
}

Result<int> Run(const VmOptions& options) {
  if (options.jail.wanted) PrepareForFilters();
  StderrLog log(LogLevel::kWarning);
  std::unique_ptr<MachineRestore> restore;
  if (options.restore) restore = TRY(OpenRestore(options));
  MachineConfig config = restore ? std::move(restore->config) : ConfigOf(options);
  if (options.jail.wanted) return RunJailed(options, std::move(config), restore.get(), &log);
  Confinement none;
  return RunIn(options, std::move(config), restore.get(), &log, none);
}

}  // namespace

int RunMachine(const VmOptions& options) {
  const Result<int> status = Run(options);
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
