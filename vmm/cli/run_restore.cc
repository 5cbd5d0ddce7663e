#include "vmm/cli/run_restore.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <memory>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/cli/clone_function.h"
#include "vmm/cli/confinement.h"
#include "vmm/cli/driven_machine.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/jail_handover.h"
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
    start_ = Clock::now();
    if (options_.jail.wanted) PrepareForFilters();
    restore_ = TRY(FunctionRestore::Open(options_));
    if (options_.jail.wanted) return RunJailed();
    Confinement none;
    return RunIn(none);
  }

 private:
  // The supervisor's half: opens what is not open yet.
  Result<int> RunJailed() {
    MemoryOptions& memory = restore_->memory;
    FunctionCloneConfig& config = restore_->config;
    std::vector<int> keep{config.image.get()};
    const UniqueFd userfaultfd =
        TRY(WithContext(OpenForJail(*restore_->image, &memory, &keep), options_.directory));
    TRY(OpenForJail(&config.jail.kvm, &config.nets, &keep));
    RemotePager::Peer pager;
    if (memory.remote != nullptr) pager = TRY(WithContext(ConnectToPager(&keep), "pager"));
    const SupervisorTasks tasks{options_.metrics, options_.record ? options_.directory : ""};
    const MachineSize size{restore_->state.memory_bytes,
                           static_cast<uint32_t>(restore_->state.vcpus.size())};
    return RunConfined(
        options_.jail, size, std::move(keep), tasks, &log_,
        [this](Confinement& confinement) {
          const Result<int> status = RunIn(confinement);
          return status ? *status : ReportError(status.error());
        },
        [this]() -> Result<std::vector<int>> {
          if (restore_->memory.remote == nullptr) return std::vector<int>{};
          return PrepareForPager();
        });
  }

  // From here on the pager is a connection.
  Result<RemotePager::Peer> ConnectToPager(std::vector<int>* keep) {
    RemotePager::Options& remote = restore_->remote;
    RemotePager::Peer peer = TRY(RemotePager::Connect(remote));
    remote.path.clear();
    remote.socket = peer.socket.get();
    remote.process = peer.process.get();
    keep->push_back(remote.socket);
    if (remote.process >= 0) keep->push_back(remote.process);
    return peer;
  }

  // In the machine's process, whose memory it is about.
  Result<std::vector<int>> PrepareForPager() {
    prepared_ = TRY(RemotePager::Prepare(restore_->memory.pager.userfaultfd));
    restore_->remote.prepared = &*prepared_;
    return std::vector{prepared_->userfaultfd.fd(), prepared_->info.get()};
  }

  // The machine's half.
  Result<int> RunIn(Confinement& confinement) {
    FunctionCloneConfig& config = restore_->config;
    config.jail.threads = confinement.hooks();
    config.jail.lock_down = confinement.lock_down();
    restore_->memory.pager.on_start = config.jail.threads.pager;
    restore_->remote.on_start = config.jail.threads.pager;
    Interruption interruption;
    MetricsFile metrics(options_.metrics, &log_, confinement.metrics_writer());
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) { interruption.Interrupt(); },
        metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback(),
        confinement.lock_down()));
    const auto machine = TRY(restore_->Start(driver_.log(), &log_));
    metrics.Attach(TextOf(machine->metrics()));
    interruption.Bind([&machine] { machine->Interrupt(Interruption::kReason); });
    driver_.report().SetRestored(machine->timings(), start_);
    DrivenMachine driven(machine.get(), restore_->name, restore_->timeout_ms);
    int status = driver_.Finish(driver_.InvokeAll(driven));
    if (status == 0 && options_.record) status = Record(*machine, confinement);
    machine->Stop();
    metrics.Detach();
    if (signals->received() != 0) status = ExitStatusOfSignal(signals->received());
    return confinement.Finish(status);
  }

  int Record(const FunctionMachine& machine, const Confinement& confinement) const {
    const WorkingSet set = machine.pager()->TakeRecord();
    const Result<void> written = confinement.active() ? confinement.SendWorkingSet(set.Encode())
                                                      : WriteWorkingSet(options_.directory, set);
    return written ? 0 : ReportError(written.error());
  }

  const RestoreOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  FunctionDriver driver_{options_.invoke};
  Clock::time_point start_{};
  std::optional<RemotePager::Prepared> prepared_;
  std::unique_ptr<FunctionRestore> restore_;  // Borrows from the one above.
};

}  // namespace

int RunRestore(const RestoreOptions& options) {
  const Result<int> status = RestoreRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
