#include "vmm/cli/booted_function.h"

#include <unistd.h>

#include "base/file.h"
#include "vmm/cli/api_nets.h"
#include "vmm/cli/interruption.h"

namespace mayfly {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;

TimePoint TimeOf(uint64_t nanoseconds) { return TimePoint(std::chrono::nanoseconds(nanoseconds)); }

void PassOnLog(void* user, uint64_t invocation, int stream, const char* text, size_t length) {
  const auto& on_log = *static_cast<const FunctionSession::LogCallback*>(user);
  on_log({invocation, static_cast<control::LogStream>(stream), {text, length}});
}

}  // namespace

Result<std::unique_ptr<BootedFunction>> BootedFunction::Open(const RunOptions& options,
                                                             Wishes wishes, LogSink* log) {
  std::unique_ptr<BootedFunction> self(new BootedFunction(options, std::move(wishes)));
  TRY(OpenApi(self->wishes_.verified_directory, log, &self->library_));
  TRY(CheckApi(mayfly_image_open(self->library_.get(), options.image.c_str(), self->image_.out()),
               self->library_.get()));
  return self;
}

Result<void> BootedFunction::Boot() {
  const ApiNets nets(options_.nets);
  mayfly_boot_options boot = MAYFLY_BOOT_OPTIONS_INIT;
  boot.kernel = options_.kernel_path.c_str();
  boot.guest_directory = options_.guest.directory.c_str();
  boot.memory_bytes = uint64_t{options_.memory_mib.value_or(0)} << 20;
  boot.vcpus = options_.vcpus.value_or(0);
  boot.timeout_ms = options_.timeout_ms.value_or(0);
  boot.snapshot = wishes_.snapshot ? 1 : 0;
  boot.start_only = 1;
  boot.verify = options_.verify ? 1 : 0;
  boot.console_fd = options_.console ? STDERR_FILENO : 0;
  boot.nets = nets.nets().data();
  boot.net_count = nets.nets().size();
  boot.net_settings = nets.nets().empty() ? nullptr : nets.settings().data();
  if (wishes_.log) boot.log = PassOnLog;
  boot.user = &wishes_.log;
  return CheckApi(mayfly_function_boot(image_.get(), &boot, function_.out()), image_.get());
}

void BootedFunction::Interrupt() {
  interrupted_ = true;
  mayfly_function_interrupt(function_.get());
}

Result<void> BootedFunction::Check(int status) const {
  if (status < 0 && interrupted_.load()) return Fail(ErrorCode::kCancelled, Interruption::kReason);
  return CheckApi(status, function_.get());
}

Result<void> BootedFunction::Ready() { return Check(mayfly_function_ready(function_.get())); }

Result<InvocationResult> BootedFunction::Invoke(std::span<const uint8_t> event) {
  InvocationResult result;
  mayfly_invoke_options options = MAYFLY_INVOKE_OPTIONS_INIT;
  options.user = &result.answer;
  options.answer = [](void* user, const void* bytes, size_t length) {
    const auto* const begin = static_cast<const uint8_t*>(bytes);
    static_cast<std::vector<uint8_t>*>(user)->assign(begin, begin + length);
  };
  const int status =
      mayfly_invoke(function_.get(), event.data(), event.size(), &options, nullptr, nullptr);
  if (status == MAYFLY_E_HANDLER || status == MAYFLY_E_TIMEOUT) {
    result.error = ParseHandlerError(result.answer);
    result.answer.clear();
  } else {
    TRY(Check(status));
  }
  mayfly_invocation cost = MAYFLY_INVOCATION_INIT;
  TRY(Check(mayfly_last_invocation(function_.get(), &cost)));
  result.total = std::chrono::microseconds(cost.total_us);
  result.handler_us = cost.handler_us;
  result.max_memory_bytes = cost.max_memory_bytes;
  result.log_dropped_bytes = cost.log_dropped_bytes;
  return result;
}

std::optional<MachineEnd> BootedFunction::end() const {
  mayfly_end end = MAYFLY_END_INIT;
  if (mayfly_function_end(function_.get(), &end) != 0) return std::nullopt;
  return MachineEnd{EndReasonOf(end.reason), end.detail};
}

Result<FunctionMachine::Timings> BootedFunction::timings() const {
  mayfly_times times = MAYFLY_TIMES_INIT;
  TRY(Check(mayfly_function_times(function_.get(), &times)));
  return FunctionMachine::Timings{TimeOf(times.created_ns), TimeOf(times.init_ns),
                                  TimeOf(times.ready_ns)};
}

Result<std::string> BootedFunction::Metrics(MetricsFormat format) const {
  const auto get =
      format == MetricsFormat::kJson ? mayfly_function_metrics : mayfly_function_metrics_text;
  // Counters grow, and with them the text.
  constexpr size_t kMore = 1024;
  std::string text;
  int status = MAYFLY_E_BUFFER;
  for (size_t size = 0; status == MAYFLY_E_BUFFER; size += kMore) {
    text.resize(size);
    status = get(function_.get(), text.data(), &size);
    if (status == 0) text.resize(size);
  }
  TRY(Check(status));
  return text;
}

}  // namespace mayfly
