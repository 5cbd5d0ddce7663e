#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "base/log.h"
#include "vmm/cli/api_handle.h"
#include "vmm/cli/driven_function.h"
#include "vmm/cli/metrics_file.h"
#include "vmm/cli/options.h"

namespace mayfly {

// A function that a command has booted through the C API, which is all that it is driven through.
class BootedFunction final : public DrivenFunction {
 public:
  struct Wishes {
    bool snapshot = false;               // mayfly_function_snapshot() will come.
    std::string verified_directory{};    // As in mayfly_options; empty: none.
    FunctionSession::LogCallback log{};  // For the handler's lines; may be empty.
  };

  // Opens the image. Makes no threads. `options` and `log` are borrowed.
  static Result<std::unique_ptr<BootedFunction>> Open(const RunOptions& options, Wishes wishes,
                                                      LogSink* log);

  // Returns as soon as the guest runs. Everything below comes after it.
  Result<void> Boot();
  // Waits for the handler; kCorrupt if the image was to be compared with its digest, and differs.
  Result<void> Ready();
  Result<InvocationResult> Invoke(std::span<const uint8_t> event) override;
  [[nodiscard]] std::optional<MachineEnd> end() const override;

  // For a signal: ends what waits, and whatever fails from then on says so. Any thread.
  void Interrupt();
  // Once it is ready.
  [[nodiscard]] Result<FunctionMachine::Timings> timings() const;
  // As MetricsFile wants them. Any thread.
  [[nodiscard]] Result<std::string> Metrics(MetricsFormat format) const;
  void Stop() { mayfly_function_stop(function_.get()); }

  // For what only one command asks of it.
  [[nodiscard]] mayfly_function* handle() const { return function_.get(); }
  // What the API has returned for handle().
  [[nodiscard]] Result<void> Check(int status) const;

 private:
  BootedFunction(const RunOptions& options, Wishes wishes)
      : options_(options), wishes_(std::move(wishes)) {}

  const RunOptions& options_;
  Wishes wishes_;
  std::atomic<bool> interrupted_{false};
  ApiInstance library_;  // Closed last.
  ApiImage image_;
  ApiFunction function_;
};

}  // namespace mayfly
