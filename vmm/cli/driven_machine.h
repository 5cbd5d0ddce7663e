#pragma once

#include <chrono>
#include <string>

#include "vmm/cli/driven_function.h"

namespace mayfly {

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
