#pragma once

#include "base/mutex.h"
#include "vmm/machine/function_machine.h"

namespace mayfly {

// A signal's way to a machine that may not be there yet: whoever waits for signals has to begin
// before the machine's threads do. Any thread.
class Interruption {
 public:
  // `machine` is borrowed, and interrupted at once if Interrupt() was called before.
  void Bind(FunctionMachine* machine);
  void Interrupt();

 private:
  static void Stop(FunctionMachine* machine) { machine->Interrupt("interrupted by a signal"); }

  Mutex mutex_;
  FunctionMachine* machine_ GUARDED_BY(mutex_) = nullptr;
  bool wanted_ GUARDED_BY(mutex_) = false;
};

}  // namespace mayfly
