#pragma once

#include "devices/legacy/power_events.h"
#include "vmm/machine/machine_end.h"

namespace mayfly {

// What the power devices say ends the machine. `latch` is borrowed.
class PowerEventsToLatch final : public PowerEvents {
 public:
  explicit PowerEventsToLatch(EndLatch* latch) : latch_(latch) {}
  void PowerOff() override { latch_->Set({EndReason::kPowerOff, ""}); }
  void Reset() override { latch_->Set({EndReason::kReset, ""}); }

 private:
  EndLatch* latch_;
};

}  // namespace mayfly
