#include "vmm/cli/exit_codes.h"

namespace mayfly {

ExitCode ExitCodeOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kTooLarge:
      return ExitCode::kUsage;
    case ErrorCode::kNotFound:
    case ErrorCode::kCorrupt:
      return ExitCode::kBadFile;
    case ErrorCode::kPermission:
    case ErrorCode::kHost:
    case ErrorCode::kUnsupported:
      return ExitCode::kHost;
    case ErrorCode::kTimeout:
      return ExitCode::kTimeout;
    case ErrorCode::kGuest:
      return ExitCode::kGuestBroke;
    case ErrorCode::kHandler:
      return ExitCode::kHandlerError;
    case ErrorCode::kCancelled:
      return ExitCode::kInterrupted;
  }
  return ExitCode::kHost;
}

ExitCode ExitCodeOf(EndReason reason) {
  switch (reason) {
    case EndReason::kPowerOff:
      return ExitCode::kSuccess;
    case EndReason::kReset:
      return ExitCode::kGuestReset;
    case EndReason::kTripleFault:
      return ExitCode::kTripleFault;
    case EndReason::kInternalError:
      return ExitCode::kKvmInternalError;
    case EndReason::kUnknownExit:
      return ExitCode::kUnknownExit;
    case EndReason::kMemoryIntegrity:
      return ExitCode::kMemoryIntegrity;
    case EndReason::kHostError:
      return ExitCode::kHost;
    case EndReason::kStopped:
      return ExitCode::kInterrupted;
  }
  return ExitCode::kHost;
}

ExitCode ExitCodeOfFunction(EndReason reason) {
  const bool by_itself = reason == EndReason::kPowerOff || reason == EndReason::kStopped;
  return by_itself ? ExitCode::kGuestBroke : ExitCodeOf(reason);
}

int ExitStatusOfSignal(int signal) { return 128 + signal; }

}  // namespace mayfly
