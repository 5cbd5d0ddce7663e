#pragma once

#include "devices/bus.h"
#include "devices/legacy/power_events.h"

namespace mayfly {

// The power registers of hardware-reduced ACPI (ACPI 6.5, section 4.8.3.7): sleep control, sleep
// status and reset, one byte each. Stateless; any thread. `events` is borrowed.
class AcpiPm final : public BusDevice {
 public:
  static constexpr uint64_t kSleepControl = 0;
  static constexpr uint64_t kSleepStatus = 1;
  static constexpr uint64_t kReset = 2;
  static constexpr uint64_t kSize = 3;
  // What the FADT and the DSDT tell the guest to write.
  static constexpr uint8_t kResetValue = 1;
  static constexpr uint8_t kSleepTypeS5 = 5;

  explicit AcpiPm(PowerEvents* events) : events_(events) {}

  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

 private:
  PowerEvents* events_;
};

}  // namespace mayfly
