#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace mayfly {

// What sits on a bus. Offsets count from the start of the device's range. `bytes` is one access of
// the guest's, 1 to 8 bytes in little-endian order, wholly inside the range. Calls come from any
// vCPU thread, several at a time: the device synchronises itself.
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  virtual void Read(uint64_t offset, std::span<uint8_t> bytes) = 0;
  virtual void Write(uint64_t offset, std::span<const uint8_t> bytes) = 0;
};

// Address ranges to devices; one instance for port I/O and one for MMIO. Filled by MachineBuilder
// before the first vCPU runs and not changed after, so that it needs no lock. Devices are borrowed
// and must outlive the bus. An access that no device claims reads as all ones and writes nothing.
class Bus {
 public:
  // Fails if the range is empty, wraps, or overlaps another.
  Result<void> Insert(uint64_t start, uint64_t size, BusDevice* device);

  // False if no device claims the whole access.
  bool Read(uint64_t address, std::span<uint8_t> bytes) const;
  bool Write(uint64_t address, std::span<const uint8_t> bytes) const;

 private:
  struct Range {
    uint64_t start;
    uint64_t size;
    BusDevice* device;
  };
  [[nodiscard]] const Range* Find(uint64_t address, uint64_t length) const;

  std::vector<Range> ranges_;  // Sorted by start.
};

}  // namespace mayfly
