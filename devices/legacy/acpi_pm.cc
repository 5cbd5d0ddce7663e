#include "devices/legacy/acpi_pm.h"

#include <algorithm>

namespace mayfly {
namespace {

// SLEEP_CONTROL_REG (ACPI 6.5, table 4.17).
constexpr uint8_t kSleepEnable = 1 << 5;
constexpr unsigned kSleepTypeShift = 2;
constexpr uint8_t kSleepTypeMask = 0x7;

}  // namespace

void AcpiPm::Read(uint64_t /*offset*/, std::span<uint8_t> bytes) { std::ranges::fill(bytes, 0); }

void AcpiPm::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (bytes.size() != 1) return;
  const uint8_t value = bytes[0];
  if (offset == kSleepControl && (value & kSleepEnable) != 0 &&
      ((value >> kSleepTypeShift) & kSleepTypeMask) == kSleepTypeS5) {
    events_->PowerOff();
  } else if (offset == kReset && value == kResetValue) {
    events_->Reset();
  }
}

}  // namespace mayfly
