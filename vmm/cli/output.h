#pragma once

#include <string_view>

#include "base/result.h"
#include "vmm/cli/exit_codes.h"

namespace mayfly {

// Writes "mayfly: message" to standard error and returns the error's exit status.
int ReportError(const Error& error);

// Writes `text` to standard output, and returns the exit status: a full disk or a closed pipe is
// an error, not silence.
int PrintText(std::string_view text);

}  // namespace mayfly
