#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

struct VirtioMmioSlot {
  uint32_t base;
  uint32_t size;
  uint32_t gsi;
};

// The machine's generation: its GUID, and the interrupt by which a new one is told.
struct AcpiGeneration {
  GuestAddress address;
  uint32_t gsi;
};

// What the tables describe.
struct AcpiDevices {
  uint32_t vcpu_count = 1;
  std::vector<VirtioMmioSlot> virtio;
  bool serial = false;
  std::optional<AcpiGeneration> generation{};
};

// The ports of the hardware-reduced power interface (ACPI 6.5, section 4.8.3.7), inside the range
// that the power device has on the I/O bus.
struct AcpiPowerPorts {
  uint16_t sleep_control;
  uint16_t sleep_status;
  uint16_t reset;
  uint8_t reset_value;
  uint8_t s5_type;
};

// Writes RSDP, XSDT, FADT (hardware-reduced), MADT and DSDT at layout::kAcpi, and returns where the
// RSDP is.
Result<GuestAddress> WriteAcpiTables(const AcpiDevices& devices, const AcpiPowerPorts& power,
                                     const GuestMemory& memory);

}  // namespace mayfly
