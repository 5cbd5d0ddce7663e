#pragma once

#include "devices/bus.h"
#include "devices/legacy/power_events.h"

namespace mayfly {

// The command port of a keyboard controller that has no keyboard and knows one command: pulse the
// CPU's reset line, the oldest way to restart a PC. Stateless; any thread. `events` is borrowed.
class I8042Reset final : public BusDevice {
 public:
  static constexpr uint64_t kSize = 1;
  static constexpr uint8_t kPulseReset = 0xfe;

  explicit I8042Reset(PowerEvents* events) : events_(events) {}

  // The status is always 0: nothing to read, and ready for a command.
  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

 private:
  PowerEvents* events_;
};

}  // namespace mayfly
