#include "vmm/cli/interruption.h"

namespace mayfly {

void Interruption::Bind(FunctionMachine* machine) {
  MutexLock lock(mutex_);
  machine_ = machine;
  if (wanted_) Stop(machine_);
}

void Interruption::Interrupt() {
  MutexLock lock(mutex_);
  wanted_ = true;
  if (machine_ != nullptr) Stop(machine_);
}

}  // namespace mayfly
