#include "vmm/cli/function_driver.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/file.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/output.h"

namespace mayfly {
namespace {

int ReportHandlerError(const HandlerError& error) {
  const bool timed_out = error.type == "Function.Timeout";
  return ReportError(Error(timed_out ? ErrorCode::kTimeout : ErrorCode::kHandler,
                           fmt::format("{}: {}", error.type, error.message)));
}

}  // namespace

void PrintLog(const LogChunk& chunk) {
  std::string_view text = chunk.text;
  while (!text.empty()) {
    const size_t length = std::min(text.find('\n'), text.size());
    const std::string line = fmt::format("[{}] {}: {}\n", chunk.invocation, NameOf(chunk.stream),
                                         text.substr(0, length));
    if (!WriteAll(STDERR_FILENO, AsBytes(line), "standard error")) return;  // Nobody reads it.
    text.remove_prefix(std::min(length + 1, text.size()));
  }
}

int ReportMachineFailure(const Error& error, const DrivenFunction& function) {
  const int status = ReportError(error);
  if (error.code() != ErrorCode::kGuest) return status;
  const std::optional<MachineEnd> end = function.end();
  return static_cast<int>(end ? ExitCodeOfFunction(end->reason) : ExitCode::kGuestBroke);
}

int FunctionDriver::InvokeAll(DrivenFunction& function) {
  int status = static_cast<int>(ExitCode::kSuccess);
  for (uint32_t i = 0; i < options_.repeat && status == 0; ++i) {
    Result<InvocationResult> result = function.Invoke(options_.event);
    if (!result) return ReportMachineFailure(result.error(), function);
    if (result->error) {
      status = ReportHandlerError(*result->error);
    } else if (!options_.json) {
      status = PrintText(AsText(result->answer));
    }
    report_.Add(std::move(*result), std::move(log_of_invocation_));
    log_of_invocation_.clear();
  }
  return status;
}

int FunctionDriver::Finish(int status) const {
  if (!options_.json) return status;
  const int printed = PrintText(report_.ToJson());
  return status == 0 ? printed : status;
}

void FunctionDriver::HandleLog(const LogChunk& chunk) {
  if (options_.json) {
    log_of_invocation_.push_back({chunk.stream, std::string(chunk.text)});
  } else {
    PrintLog(chunk);
  }
}

}  // namespace mayfly
