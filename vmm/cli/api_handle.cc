#include "vmm/cli/api_handle.h"

#include <utility>

#include "snapshot/verified_stamp.h"

namespace mayfly {
namespace {

ErrorCode CodeOfApi(int status) {
  switch (status) {
    case MAYFLY_E_INVALID:
      return ErrorCode::kInvalidArgument;
    case MAYFLY_E_TOO_LARGE:
      return ErrorCode::kTooLarge;
    case MAYFLY_E_NOT_FOUND:
      return ErrorCode::kNotFound;
    case MAYFLY_E_PERMISSION:
      return ErrorCode::kPermission;
    case MAYFLY_E_CORRUPT:
      return ErrorCode::kCorrupt;
    case MAYFLY_E_UNSUPPORTED:
      return ErrorCode::kUnsupported;
    case MAYFLY_E_TIMEOUT:
      return ErrorCode::kTimeout;
    case MAYFLY_E_GUEST:
      return ErrorCode::kGuest;
    case MAYFLY_E_HANDLER:
      return ErrorCode::kHandler;
    case MAYFLY_E_CANCELLED:
      return ErrorCode::kCancelled;
    default:
      return ErrorCode::kHost;
  }
}

void WriteLog(void* user, int level, const char* line, size_t length) {
  static_cast<LogSink*>(user)->Write(static_cast<LogLevel>(level), {line, length});
}

}  // namespace

Result<void> OpenApi(const std::string& verified_directory, LogSink* log, ApiInstance* out) {
  // mayfly_open() has no handle yet that could say why it cannot be used.
  if (!verified_directory.empty()) TRY(VerifiedStamps::Open(verified_directory));
  mayfly_options library = MAYFLY_OPTIONS_INIT;
  if (log != nullptr) library.log = WriteLog;
  library.user = log;
  library.log_level = MAYFLY_LOG_WARNING;
  if (!verified_directory.empty()) library.verified_directory = verified_directory.c_str();
  return CheckApi(mayfly_open(&library, out->out()), nullptr);
}

Result<void> CheckApi(int status, const void* handle) {
  if (status >= 0) return {};
  const int length = mayfly_error(handle, nullptr, 0);
  if (length <= 0) return Fail(CodeOfApi(status), mayfly_strerror(status));
  std::string text(static_cast<size_t>(length) + 1, '\0');
  mayfly_error(handle, text.data(), text.size());
  text.pop_back();
  return Fail(CodeOfApi(status), std::move(text));
}

EndReason EndReasonOf(int reason) {
  switch (reason) {
    case MAYFLY_END_POWER_OFF:
      return EndReason::kPowerOff;
    case MAYFLY_END_RESET:
      return EndReason::kReset;
    case MAYFLY_END_TRIPLE_FAULT:
      return EndReason::kTripleFault;
    case MAYFLY_END_INTERNAL_ERROR:
      return EndReason::kInternalError;
    case MAYFLY_END_UNKNOWN_EXIT:
      return EndReason::kUnknownExit;
    case MAYFLY_END_MEMORY_INTEGRITY:
      return EndReason::kMemoryIntegrity;
    case MAYFLY_END_STOPPED:
      return EndReason::kStopped;
    default:
      return EndReason::kHostError;
  }
}

}  // namespace mayfly
