#include "vmm/cli/driven_machine.h"

#include <fmt/format.h>

namespace mayfly {

Result<InvocationResult> DrivenMachine::Invoke(std::span<const uint8_t> event) {
  return machine_->Invoke(event, {fmt::format("{}-{}", name_, ++count_), timeout_});
}

}  // namespace mayfly
