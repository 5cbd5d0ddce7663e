#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/control/function_session.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

std::string_view NameOf(control::LogStream stream);

// What `mayfly run --json` prints; docs/command-line.md describes the fields.
class InvocationReport {
 public:
  struct LogEntry {
    control::LogStream stream;
    std::string text;
  };

  void SetLoaded(const FunctionMachine::Timings& timings,
                 std::chrono::steady_clock::time_point start);
  // The same for a machine that was restored.
  void SetRestored(const FunctionMachine::Timings& timings,
                   std::chrono::steady_clock::time_point start);
  void Add(InvocationResult result, std::vector<LogEntry> log);

  // One line of JSON, with a newline. Answers and log lines that are not UTF-8 are in base64.
  [[nodiscard]] std::string ToJson() const;

 private:
  struct Entry {
    InvocationResult result;
    std::vector<LogEntry> log;
  };

  bool restored_ = false;
  FunctionMachine::Timings timings_{};
  std::chrono::steady_clock::time_point start_;
  std::vector<Entry> entries_;
};

}  // namespace mayfly
