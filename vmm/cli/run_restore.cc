#include "vmm/cli/run_restore.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/cli/confinement.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/jail_handover.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/pager_process.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/function/image.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::string_view kOwnPager = "auto";

MemoryWay WayOf(FillMemory memory) {
  switch (memory) {
    case FillMemory::kUffd:
      return MemoryWay::kUffd;
    case FillMemory::kEager:
      return MemoryWay::kEager;
    default:
      return MemoryWay::kMap;
  }
}

// The function's image as the snapshot knew it, or why it is not.
Result<FunctionImage> OpenImage(const Manifest& manifest, const std::string& elsewhere) {
  if (!manifest.function || manifest.disks.size() != 1) {
    return Fail(ErrorCode::kInvalidArgument, "not a function's snapshot");
  }
  FunctionImage image =
      TRY(FunctionImage::Open(elsewhere.empty() ? manifest.disks[0].path : elsewhere));
  if (image.layout().image_digest != manifest.function->image_digest) {
    return Fail(
        ErrorCode::kInvalidArgument,
        fmt::format("{}: its digest is {}, the snapshot was made with {}", image.path(),
                    ToHex(image.layout().image_digest), ToHex(manifest.function->image_digest)));
  }
  return image;
}

class RestoreRun {
 public:
  explicit RestoreRun(const RestoreOptions& options) : options_(options) {}

  Result<int> Run() {
    start_ = Clock::now();
    if (options_.jail.wanted) PrepareForFilters();
    Snapshot snapshot = TRY(Snapshot::Open(options_.directory));
    const FunctionImage image =
        TRY(WithContext(OpenImage(snapshot.manifest(), options_.image), options_.directory));
    config_ = TRY(ConfigOf(snapshot.manifest(), image));
    TRY(WithContext(ChooseMemory(snapshot), options_.directory));
    state_ = snapshot.TakeState();
    if (options_.jail.wanted) return RunJailed();
    Confinement none;
    return RunIn(none);
  }

 private:
  Result<FunctionCloneConfig> ConfigOf(const Manifest& manifest, const FunctionImage& image) const {
    FunctionCloneConfig config;
    config.description =
        TRY(ParseFunctionDescription(manifest.function->description, options_.directory));
    if (options_.timeout_ms) config.description.timeout_ms = *options_.timeout_ms;
    config.image_name = image.path();
    config.image = TRY(image.fd().Duplicate());
    if (!options_.nets.empty() && options_.nets.size() != manifest.nets.size()) {
      return Fail(ErrorCode::kInvalidArgument,
                  fmt::format("--net: {} devices, the snapshot has {}", options_.nets.size(),
                              manifest.nets.size()));
    }
    for (const NetOptions& net : options_.nets) {
      config.nets.push_back(NetConfigOf(net));
      config.addresses.push_back(net.address);
    }
    if (options_.nets.empty()) {
      for (const Manifest::Net& net : manifest.nets) config.nets.emplace_back().tap = net.tap;
    }
    if (options_.console) config.console_output = STDERR_FILENO;
    return config;
  }

  Result<void> ChooseMemory(Snapshot& snapshot) {
    memory_.way = WayOf(options_.memory);
    memory_.unverified = options_.unverified;
    if (!options_.unverified) {
      stamps_ = TRY(VerifiedStamps::Open(StampDirectory()));
      memory_.stamps = &*stamps_;
    }
    memory_.manifest = snapshot.manifest_digest();
    if (options_.use_working_set) working_set_ = TRY(snapshot.ReadWorkingSet());
    if (working_set_) memory_.working_set = &*working_set_;
    if (!options_.pager.empty()) {
      if (options_.pager == kOwnPager) {
        pager_ = std::make_unique<PagerProcess>(TRY(PagerProcess::Start(options_)));
        remote_.socket = pager_->socket();
      } else {
        remote_.path = options_.pager;
      }
      remote_.deadline = std::chrono::milliseconds(options_.pager_timeout_ms);
      remote_.snapshot = ToHex(snapshot.manifest_digest());
      memory_.remote = &remote_;
    }
    memory_.pager.record = options_.record;
    if (options_.record) memory_.pager.run_bytes = GuestMemory::kPageSize;
    memory_image_ = snapshot.TakeMemory();
    return {};
  }

  // The supervisor's half: opens what is not open yet.
  Result<int> RunJailed() {
    if (memory_.remote != nullptr) {
      return Fail(ErrorCode::kUnsupported,
                  "--pager: what watches over a pager in another process cannot be jailed");
    }
    std::vector<int> keep{config_.image.get(), memory_image_->fd(), memory_image_->digests_fd()};
    memory_ = TRY(WithContext(SettleStamps(*memory_image_, memory_), options_.directory));
    TRY(OpenForJail(&config_.jail.kvm, &config_.nets, &keep));
    UniqueFd userfaultfd;
    if (memory_.way == MemoryWay::kUffd) {
      userfaultfd = TRY(OpenFile("/dev/userfaultfd", O_RDWR));
      memory_.pager.userfaultfd = userfaultfd.get();
      keep.push_back(userfaultfd.get());
    }
    const SupervisorTasks tasks{options_.metrics, options_.record ? options_.directory : ""};
    const MachineSize size{state_.memory_bytes, static_cast<uint32_t>(state_.vcpus.size())};
    return RunConfined(options_.jail, size, std::move(keep), tasks, &log_,
                       [this](Confinement& confinement) {
                         const Result<int> status = RunIn(confinement);
                         return status ? *status : ReportError(status.error());
                       });
  }

  // The machine's half.
  Result<int> RunIn(Confinement& confinement) {
    config_.jail.threads = confinement.hooks();
    config_.jail.lock_down = confinement.lock_down();
    memory_.pager.on_start = config_.jail.threads.pager;
    const uint32_t timeout_ms = config_.description.timeout_ms;
    const std::string name = config_.description.name;
    Interruption interruption;
    MetricsFile metrics(options_.metrics, &log_, confinement.metrics_writer());
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) { interruption.Interrupt(); },
        metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback(),
        confinement.lock_down()));
    RestoredMemory memory =
        TRY(WithContext(RestoreMemory(std::move(memory_image_), memory_), options_.directory));
    const auto machine =
        TRY(WithContext(FunctionMachine::Restore(std::move(config_), std::move(state_),
                                                 std::move(memory), driver_.log(), &log_),
                        options_.directory));
    metrics.Attach(&machine->metrics());
    interruption.Bind(machine.get());
    driver_.report().SetRestored(machine->timings(), start_);
    int status = driver_.Finish(driver_.InvokeAll(*machine, name, timeout_ms));
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
  FunctionCloneConfig config_;
  MachineState state_;
  std::unique_ptr<MemoryImage> memory_image_;
  std::optional<VerifiedStamps> stamps_;
  std::optional<WorkingSet> working_set_;
  RemotePager::Options remote_;
  MemoryOptions memory_;
  std::unique_ptr<PagerProcess> pager_;
};

}  // namespace

int RunRestore(const RestoreOptions& options) {
  const Result<int> status = RestoreRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
