#include "vmm/cli/run_restore.h"

#include <fmt/format.h>
#include <unistd.h>

#include <optional>

#include "base/log.h"
#include "snapshot/snapshot_directory.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"
#include "vmm/function/image.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

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
    const auto start = Clock::now();
    Snapshot snapshot = TRY(Snapshot::Open(options_.directory));
    const FunctionImage image =
        TRY(WithContext(OpenImage(snapshot.manifest(), options_.image), options_.directory));
    FunctionCloneConfig config = TRY(ConfigOf(snapshot.manifest(), image));
    const uint32_t timeout_ms = config.description.timeout_ms;
    const std::string name = config.description.name;
    RestoredMemory memory = TRY(WithContext(OpenMemory(snapshot), options_.directory));
    const auto machine =
        TRY(WithContext(FunctionMachine::Restore(std::move(config), snapshot.TakeState(),
                                                 std::move(memory), driver_.log(), &log_),
                        options_.directory));
    MetricsFile metrics(options_.metrics, &log_);
    metrics.Attach(&machine->metrics());
    const auto signals = TRY(SignalWatcher::Create(
        [&](int) { machine->Interrupt("interrupted by a signal"); },
        metrics.wanted() ? [&](int) { metrics.Write(); } : SignalWatcher::Callback()));
    driver_.report().SetRestored(machine->timings(), start);
    int status = driver_.Finish(driver_.InvokeAll(*machine, name, timeout_ms));
    if (status == 0 && options_.record) status = Record(*machine);
    machine->Stop();
    metrics.Detach();
    if (signals->received() != 0) return ExitStatusOfSignal(signals->received());
    return status;
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

  Result<RestoredMemory> OpenMemory(Snapshot& snapshot) {
    MemoryOptions memory;
    memory.way = WayOf(options_.memory);
    memory.unverified = options_.unverified;
    std::optional<VerifiedStamps> stamps;
    if (!options_.unverified) {
      stamps = TRY(VerifiedStamps::Open(StampDirectory()));
      memory.stamps = &*stamps;
    }
    memory.manifest = snapshot.manifest_digest();
    std::optional<WorkingSet> working_set;
    if (options_.use_working_set) working_set = TRY(snapshot.ReadWorkingSet());
    if (working_set) memory.working_set = &*working_set;
    RemotePager::Options remote;
    if (!options_.pager.empty()) {
      remote = {options_.pager, std::chrono::milliseconds(options_.pager_timeout_ms),
                ToHex(snapshot.manifest_digest())};
      memory.remote = &remote;
    }
    memory.pager.record = options_.record;
    if (options_.record) memory.pager.run_bytes = GuestMemory::kPageSize;
    return RestoreMemory(snapshot.TakeMemory(), memory);
  }

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
