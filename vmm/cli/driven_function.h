#pragma once

#include <cstdint>
#include <optional>
#include <span>

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

}  // namespace mayfly
