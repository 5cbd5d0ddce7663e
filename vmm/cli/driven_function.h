#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "vmm/machine/function_machine.h"

namespace mayfly {

// A function that runs, as a command drives it: one thread, one invocation after the other.
class DrivenFunction {
 public:
  DrivenFunction() = default;
  DrivenFunction(const DrivenFunction&) = delete;
  DrivenFunction& operator=(const DrivenFunction&) = delete;
  virtual ~DrivenFunction() = default;

  virtual Result<InvocationResult> Invoke(std::span<const uint8_t> event) = 0;
  // Why its machine ended, if it has.
  [[nodiscard]] virtual std::optional<MachineEnd> end() const = 0;
};

// One whose machine the command has made itself.
class DrivenMachine final : public DrivenFunction {
 public:
  // `machine` is borrowed; `name` and a number make the ids of invocations.
  DrivenMachine(FunctionMachine* machine, std::string name, uint32_t timeout_ms)
      : machine_(machine), name_(std::move(name)), timeout_(timeout_ms) {}

  Result<InvocationResult> Invoke(std::span<const uint8_t> event) override;
  [[nodiscard]] std::optional<MachineEnd> end() const override { return machine_->end(); }

 private:
  FunctionMachine* const machine_;
  const std::string name_;
  const std::chrono::milliseconds timeout_;
  uint32_t count_ = 0;
};

}  // namespace mayfly
