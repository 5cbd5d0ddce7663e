#pragma once

#include <array>
#include <string_view>

#include "base/result.h"
#include "vmm/machine/machine_end.h"

namespace mayfly {

// What the mayfly command exits with; docs/exit-codes.md is written from kExitCodes.
enum class ExitCode : int {
  kSuccess = 0,
  kHandlerError = 1,
  kUsage = 2,
  kHost = 3,
  kBadFile = 4,
  kTimeout = 5,
  kGuestReset = 10,
  kTripleFault = 11,
  kKvmInternalError = 12,
  kUnknownExit = 13,
  kMemoryIntegrity = 14,
  kGuestBroke = 15,
  kInterrupted = 130,
  kTerminated = 143,
};

struct ExitCodeMeaning {
  ExitCode code;
  std::string_view meaning;
};

inline constexpr std::array kExitCodes{
    ExitCodeMeaning{ExitCode::kSuccess, "success, or the guest powered itself off"},
    ExitCodeMeaning{ExitCode::kHandlerError, "the function's handler failed"},
    ExitCodeMeaning{ExitCode::kUsage, "wrong usage or configuration, or a limit is exceeded"},
    ExitCodeMeaning{ExitCode::kHost, "the host cannot do it, or failed while doing it"},
    ExitCodeMeaning{ExitCode::kBadFile, "an input file is missing, damaged or of another kind"},
    ExitCodeMeaning{ExitCode::kTimeout, "a deadline passed"},
    ExitCodeMeaning{ExitCode::kGuestReset, "the guest asked for a reset"},
    ExitCodeMeaning{ExitCode::kTripleFault, "a CPU of the guest triple-faulted"},
    ExitCodeMeaning{ExitCode::kKvmInternalError, "KVM could not go on with the guest"},
    ExitCodeMeaning{ExitCode::kUnknownExit, "the guest did something that mayfly does not support"},
    ExitCodeMeaning{ExitCode::kMemoryIntegrity, "a page of the guest's memory is gone"},
    ExitCodeMeaning{ExitCode::kGuestBroke, "the guest ended, or broke, before the answer"},
    ExitCodeMeaning{ExitCode::kInterrupted, "ended by SIGINT"},
    ExitCodeMeaning{ExitCode::kTerminated, "ended by SIGTERM"},
};

// For an error that ends the command. What the error was about decided its code already where it
// arose: kNotFound is a file that the user named, a missing device is kHost.
ExitCode ExitCodeOf(ErrorCode code);

// For a machine that ran by itself (mayfly vm).
ExitCode ExitCodeOf(EndReason reason);

// For a function's machine that has ended while an answer was due.
ExitCode ExitCodeOfFunction(EndReason reason);

// For a command that a signal ended: 128 and its number, as shells have it.
int ExitStatusOfSignal(int signal);

}  // namespace mayfly
