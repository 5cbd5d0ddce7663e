#pragma once

namespace mayfly {

// What a power device asks of the machine. Called from vCPU threads.
class PowerEvents {
 public:
  virtual ~PowerEvents() = default;
  virtual void PowerOff() = 0;
  virtual void Reset() = 0;
};

}  // namespace mayfly
