#pragma once

#include "devices/legacy/power_events.h"

namespace mayfly {

// Counts what power devices ask of a machine.
class FakePowerEvents final : public PowerEvents {
 public:
  void PowerOff() override { ++power_offs; }
  void Reset() override { ++resets; }

  int power_offs = 0;
  int resets = 0;
};

}  // namespace mayfly
