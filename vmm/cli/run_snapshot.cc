#include "vmm/cli/run_snapshot.h"

#include <memory>
#include <string>

#include "base/log.h"
#include "vmm/cli/booted_function.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/function_driver.h"
#include "vmm/cli/interruption.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/cli/snapshot_reports.h"

namespace mayfly {
namespace {

// A function lives on for months in its snapshot: it is not made of a damaged file.
class SnapshotRun {
 public:
  explicit SnapshotRun(const SnapshotOptions& options) : options_(options) {}

  Result<int> Run() {
    BootedFunction::Wishes wishes{.snapshot = true, .verified_directory = StampDirectory()};
    // With JSON nobody asks for what it prints.
    if (!options_.json) wishes.log = PrintLog;
    function_ = TRY(BootedFunction::Open(options_.run, std::move(wishes), &log_));
    const auto signals = TRY(SignalWatcher::Create([this](int) { interruption_.Interrupt(); }));
    TRY(function_->Boot());
    interruption_.Bind([this] { function_->Interrupt(); });
    int status = WarmAndSave();
    if (signals->received() != 0) status = ExitStatusOfSignal(signals->received());
    if (status == 0 && options_.json) return ReportSnapshotSaved();
    return status;
  }

 private:
  int WarmAndSave() {
    const Result<void> ready = function_->Ready();
    if (!ready) return ReportMachineFailure(ready.error(), *function_);
    const int warmed = Warm();
    if (warmed != 0) return warmed;
    const Result<void> saved =
        function_->Check(mayfly_function_snapshot(function_->handle(), options_.directory.c_str()));
    return saved ? 0 : ReportMachineFailure(saved.error(), *function_);
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
      const int status = mayfly_invoke(function_->handle(), invoke.event.data(),
                                       invoke.event.size(), &options, nullptr, nullptr);
      if (status == MAYFLY_E_STATE && !interruption_.wanted()) {
        log_.Write(LogLevel::kWarning,
                   "--warm: left out, the handler takes no events before its snapshot");
        return 0;
      }
      const Result<void> answered = function_->Check(status);
      if (!answered) return ReportMachineFailure(answered.error(), *function_);
      if (options_.json) continue;
      const int printed = PrintText(answer);
      if (printed != 0) return printed;
    }
    return 0;
  }

  [[nodiscard]] Result<int> ReportSnapshotSaved() const {
    mayfly_saved saved = MAYFLY_SAVED_INIT;
    TRY(function_->Check(mayfly_function_saved(function_->handle(), &saved)));
    return ReportSaved({std::chrono::microseconds(saved.pause_us), saved.data_bytes});
  }

  const SnapshotOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  Interruption interruption_;
  std::unique_ptr<BootedFunction> function_;
};

}  // namespace

int RunSnapshot(const SnapshotOptions& options) {
  const Result<int> status = SnapshotRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
