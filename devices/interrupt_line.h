#pragma once

namespace mayfly {

// One edge-triggered interrupt input. All that a device knows of interrupts. Any thread.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void Raise() = 0;
};

}  // namespace mayfly
