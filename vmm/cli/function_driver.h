#pragma once

#include <string>
#include <vector>

#include "vmm/cli/driven_function.h"
#include "vmm/cli/invocation_report.h"
#include "vmm/cli/options.h"

namespace mayfly {

// Drives a function for a command, and prints what comes of it. One thread.
class FunctionDriver {
 public:
  // `options` outlive it.
  explicit FunctionDriver(const InvokeOptions& options) : options_(options) {}

  // For the machine: lines of the handler's go to standard error as they come, or into the report.
  FunctionSession::LogCallback log() {
    return [this](const LogChunk& chunk) { HandleLog(chunk); };
  }
  [[nodiscard]] InvocationReport& report() { return report_; }

  // Invokes the function as often as was asked, until the first failure. Returns the exit status.
  int InvokeAll(DrivenFunction& function);
  // Prints the report if JSON was asked for; `status` is the exit status so far.
  int Finish(int status) const;

 private:
  void HandleLog(const LogChunk& chunk);

  const InvokeOptions& options_;
  InvocationReport report_;
  std::vector<InvocationReport::LogEntry> log_of_invocation_;
};

// Writes a line of the handler's to standard error, as it comes: "[1] stdout: text".
void PrintLog(const LogChunk& chunk);

// Reports an error of the machine's, and returns the exit status for it: if it was the machine that
// ended, its reason says more than the silence that followed.
int ReportMachineFailure(const Error& error, const DrivenFunction& function);

}  // namespace mayfly
