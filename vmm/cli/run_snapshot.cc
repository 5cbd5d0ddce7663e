#include "vmm/cli/run_snapshot.h"

#include <unistd.h>

#include <string>

#include "base/log.h"
#include "vmm/cli/api_handle.h"
#include "vmm/cli/api_nets.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"

namespace mayfly {
namespace {

// The machine is driven through the C API alone.
class SnapshotRun {
 public:
  explicit SnapshotRun(const SnapshotOptions& options) : options_(options) {}

  Result<int> Run() {
    const std::string stamps = StampDirectory();
    // mayfly_open() has no handle yet that could say why it cannot be used.
    TRY(VerifiedStamps::Open(stamps));
    mayfly_options library = MAYFLY_OPTIONS_INIT;
    library.log = [](void* user, int level, const char* line, size_t length) {
      static_cast<StderrLog*>(user)->Write(static_cast<LogLevel>(level), {line, length});
    };
    library.user = &log_;
    library.log_level = MAYFLY_LOG_WARNING;
    library.verified_directory = stamps.c_str();
    TRY(CheckApi(mayfly_open(&library, library_.out()), nullptr));
    TRY(CheckApi(mayfly_image_open(library_.get(), options_.run.image.c_str(), image_.out()),
                 library_.get()));
    // A function that lives on for months is not made of a damaged file.
    if (options_.run.verify) TRY(CheckApi(mayfly_image_verify(image_.get()), image_.get()));

    const auto signals = TRY(SignalWatcher::Create([this](int) { interruption_.Interrupt(); }));
    TRY(Boot());
    interruption_.Bind([this] { mayfly_function_interrupt(function_.get()); });
    int status = WarmAndSave();
    if (signals->received() != 0) status = ExitStatusOfSignal(signals->received());
    if (status == 0 && options_.json) return ReportSnapshotSaved();
    return status;
  }

 private:
  Result<void> Boot() {
    const RunOptions& run = options_.run;
    const ApiNets nets(run.nets);
    mayfly_boot_options boot = MAYFLY_BOOT_OPTIONS_INIT;
    boot.kernel = run.kernel_path.c_str();
    boot.guest_directory = run.guest.directory.c_str();
    boot.memory_bytes = uint64_t{run.memory_mib.value_or(0)} << 20;
    boot.vcpus = run.vcpus.value_or(0);
    boot.timeout_ms = run.timeout_ms.value_or(0);
    boot.snapshot = 1;
    boot.start_only = 1;
    boot.console_fd = run.console ? STDERR_FILENO : 0;
    boot.nets = nets.nets().data();
    boot.net_count = nets.nets().size();
    boot.net_settings = nets.nets().empty() ? nullptr : nets.settings().data();
    // With JSON nobody asks for what it prints.
    if (!options_.json) boot.log = PrintHandlerLog;
    return CheckApi(mayfly_function_boot(image_.get(), &boot, function_.out()), image_.get());
  }

  static void PrintHandlerLog(void* /*user*/, uint64_t invocation, int stream, const char* text,
                              size_t length) {
    PrintLog({invocation, static_cast<control::LogStream>(stream), {text, length}});
  }

  int WarmAndSave() {
    const Result<void> ready = CheckFunction(mayfly_function_ready(function_.get()));
    if (!ready) return ReportFailure(ready.error());
    const int warmed = Warm();
    if (warmed != 0) return warmed;
    const Result<void> saved =
        CheckFunction(mayfly_function_snapshot(function_.get(), options_.directory.c_str()));
    return saved ? 0 : ReportFailure(saved.error());
  }

  int Warm() {
    const InvokeOptions& invoke = options_.run.invoke;
    std::string answer;
    mayfly_invoke_options options = MAYFLY_INVOKE_OPTIONS_INIT;
    options.user = &answer;
    options.answer = [](void* user, const void* bytes, size_t length) {
      static_cast<std::string*>(user)->assign(static_cast<const char*>(bytes), length);
    };
    for (uint32_t i = 0; i < invoke.repeat; ++i) {
      answer.clear();
      const int status = mayfly_invoke(function_.get(), invoke.event.data(), invoke.event.size(),
                                       &options, nullptr, nullptr);
      if (status == MAYFLY_E_STATE && !interruption_.wanted()) {
        log_.Write(LogLevel::kWarning,
                   "--warm: left out, the handler takes no events before its snapshot");
        return 0;
      }
      const Result<void> answered = CheckFunction(status);
      if (!answered) return ReportFailure(answered.error());
      if (options_.json) continue;
      const int printed = PrintText(answer);
      if (printed != 0) return printed;
    }
    return 0;
  }

  Result<void> CheckFunction(int status) const { return CheckApi(status, function_.get()); }

  // If it was the machine that ended, its reason says more than the silence that followed.
  [[nodiscard]] int ReportFailure(const Error& error) const {
    if (interruption_.wanted()) {
      return ReportError(Error(ErrorCode::kCancelled, Interruption::kReason));
    }
    const int status = ReportError(error);
    mayfly_end end = MAYFLY_END_INIT;
    if (error.code() != ErrorCode::kGuest || mayfly_function_end(function_.get(), &end) != 0) {
      return status;
    }
    return static_cast<int>(ExitCodeOfFunction(EndReasonOf(end.reason)));
  }

  [[nodiscard]] Result<int> ReportSnapshotSaved() const {
    mayfly_saved saved = MAYFLY_SAVED_INIT;
    TRY(CheckFunction(mayfly_function_saved(function_.get(), &saved)));
    return ReportSaved({std::chrono::microseconds(saved.pause_us), saved.data_bytes});
  }

  const SnapshotOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  Interruption interruption_;
  ApiInstance library_;  // Closed last.
  ApiImage image_;
  ApiFunction function_;
};

}  // namespace

int RunSnapshot(const SnapshotOptions& options) {
  const Result<int> status = SnapshotRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
