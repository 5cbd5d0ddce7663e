#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "vmm/control/function_session.h"
#include "vmm/machine/machine_end.h"
#include "vmm/zygote/zygote_process.h"

namespace mayfly {

// A function in a jailed clone of a zygote's, as the host process has it. Whatever the clone says
// is a hostile guest's word: it can spoil its own answers and nothing else. One thread, but for
// Interrupt() and end(). After an error of Invoke(), or an error in its result, it is not to be
// used again.
class JailedFunction {
 public:
  // Beyond what the clone is given for an invocation; then it is ended. A clone that does not keep
  // to its own deadlines has been taken over, or has no processor.
  static constexpr std::chrono::seconds kGrace{5};

  // Returns when the function runs. `console` (-1: none) is what the guest's console writes to. The
  // zygote is kept for as long as any function of it is there. `log` is borrowed.
  static Result<std::unique_ptr<JailedFunction>> Create(std::shared_ptr<ZygoteProcess> zygote,
                                                        int console,
                                                        FunctionSession::LogCallback on_log,
                                                        LogSink* log);
  JailedFunction(const JailedFunction&) = delete;
  JailedFunction& operator=(const JailedFunction&) = delete;

  // As FunctionSession::Invoke().
  Result<InvocationResult> Invoke(std::span<const uint8_t> event, const Invocation& invocation);
  // Ends the clone, and with it what Invoke() waits for, with a kGuest error. Any thread.
  void Interrupt();
  // Whether its process is gone. Any thread.
  [[nodiscard]] std::optional<MachineEnd> end() const;

 private:
  using Clock = std::chrono::steady_clock;

  JailedFunction(std::shared_ptr<ZygoteProcess> zygote, UniqueFd clone,
                 FunctionSession::LogCallback on_log, LogSink* log)
      : zygote_(std::move(zygote)),
        clone_(std::move(clone)),
        on_log_(std::move(on_log)),
        log_(log) {}

  // Never longer than until the deadline: a clone need not read.
  Result<void> Send(const PacketHead& head, std::span<const uint8_t> bytes,
                    Clock::time_point deadline);
  // The next packet that is no log; ends the clone if there is none in time.
  Result<Packet> Receive(Clock::time_point deadline);
  bool TakeLog(const Packet& packet);
  Result<InvocationResult> ReceiveResult(Clock::time_point deadline);

  const std::shared_ptr<ZygoteProcess> zygote_;  // Shared by its clones, which end with it.
  const UniqueFd clone_;
  const FunctionSession::LogCallback on_log_;
  LogSink* const log_;
  LogBudget log_budget_{FunctionSession::kMaxLog};  // Of its machine's own log, too.
};

}  // namespace mayfly
