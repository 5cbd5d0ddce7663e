#include "vmm/cli/run_function.h"

#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <optional>

#include "base/file.h"
#include "base/log.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/invocation_report.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/net_config.h"
#include "vmm/cli/output.h"
#include "vmm/cli/signal_watcher.h"
#include "vmm/control/function_session.h"
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
      TRY(BuildInitrd({options.guest.init, options.guest.handler, options.kernel.modules}));
  for (const NetOptions& net : options.nets) {
    config.nets.push_back(NetConfigOf(net));
    config.addresses.push_back(net.address);
  }
  if (options.console) config.console_output = STDERR_FILENO;
  return config;
}

// A line of the handler's on standard error, as it comes: "[1] stdout: text".
void PrintLog(const LogChunk& chunk) {
  std::string_view text = chunk.text;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    const std::string line = fmt::format("[{}] {}: {}\n", chunk.invocation, NameOf(chunk.stream),
                                         text.substr(0, length));
    (void)WriteAll(STDERR_FILENO, AsBytes(line), "standard error");
    text.remove_prefix(std::min(length + 1, text.size()));
  }
}

// The exit status for a run that ended with `error`: if it was the machine that ended, its reason
// says more than the silence that followed.
int ReportFailure(const Error& error, const FunctionMachine& machine) {
  const int status = ReportError(error);
  if (error.code() != ErrorCode::kGuest) return status;
  const std::optional<MachineEnd> end = machine.end();
  if (!end || end->reason == EndReason::kPowerOff || end->reason == EndReason::kStopped) {
    return static_cast<int>(ExitCode::kGuestBroke);
  }
  return static_cast<int>(ExitCodeOf(end->reason));
}

int ReportHandlerError(const HandlerError& error) {
  const bool timed_out = error.type == "Function.Timeout";
  return ReportError(Error(timed_out ? ErrorCode::kTimeout : ErrorCode::kHandler,
                           fmt::format("{}: {}", error.type, error.message)));
}

class FunctionRun {
 public:
  explicit FunctionRun(const RunOptions& options) : options_(options) {}

  Result<int> Run() {
    const auto start = Clock::now();
    FunctionImage image = TRY(FunctionImage::Open(options_.image));
    FunctionMachineConfig config = TRY(ConfigOf(options_, image));
    std::optional<ImageVerifier> verifier;
    if (options_.verify) verifier.emplace(std::move(image));
    const uint32_t timeout_ms = config.description.timeout_ms;
    const std::string name = config.description.name;
    const auto machine = TRY(FunctionMachine::Boot(
        std::move(config), [this](const LogChunk& chunk) { HandleLog(chunk); }, &log_));
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
    if (!loaded) return ReportFailure(loaded.error(), machine);
    report_.SetLoaded(machine.timings(), start);

    int status = static_cast<int>(ExitCode::kSuccess);
    for (uint32_t i = 0; i < options_.repeat && status == 0; ++i) {
      const Invocation invocation{fmt::format("{}-{}", name, i + 1),
                                  std::chrono::milliseconds(timeout_ms)};
      Result<InvocationResult> result = machine.Invoke(options_.event, invocation);
      if (!result) {
        status = ReportFailure(result.error(), machine);
        break;
      }
      status = result->error ? ReportHandlerError(*result->error) : PrintAnswer(result->answer);
      report_.Add(std::move(*result), std::move(log_of_invocation_));
      log_of_invocation_.clear();
    }
    if (options_.json) {
      const int printed = PrintText(report_.ToJson());
      if (status == 0) status = printed;
    }
    return status;
  }

  int PrintAnswer(std::span<const uint8_t> answer) const {
    return options_.json ? 0 : PrintText(AsText(answer));
  }

  void HandleLog(const LogChunk& chunk) {
    if (options_.json) {
      log_of_invocation_.push_back({chunk.stream, std::string(chunk.text)});
    } else {
      PrintLog(chunk);
    }
  }

  const RunOptions& options_;
  StderrLog log_{LogLevel::kWarning};
  InvocationReport report_;
  std::vector<InvocationReport::LogEntry> log_of_invocation_;
};

}  // namespace

int RunFunction(const RunOptions& options) {
  const Result<int> status = FunctionRun(options).Run();
  return status ? *status : ReportError(status.error());
}

}  // namespace mayfly
