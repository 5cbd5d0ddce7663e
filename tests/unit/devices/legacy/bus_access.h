#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "devices/bus.h"

namespace mayfly {

using Bytes = std::vector<uint8_t>;

// One read of a device's; what it does not set stays 0xee.
inline Bytes ReadBytes(BusDevice& device, uint64_t offset, size_t size) {
  Bytes bytes(size, 0xee);
  device.Read(offset, bytes);
  return bytes;
}
inline uint8_t Read8(BusDevice& device, uint64_t offset) { return ReadBytes(device, offset, 1)[0]; }
inline uint32_t Read32(BusDevice& device, uint64_t offset) {
  return LoadLe<uint32_t>(ReadBytes(device, offset, sizeof(uint32_t)));
}
inline void Write8(BusDevice& device, uint64_t offset, uint8_t value) {
  device.Write(offset, Bytes{value});
}
inline void Write32(BusDevice& device, uint64_t offset, uint32_t value) {
  device.Write(offset, BytesOf(value));
}
inline void Write64(BusDevice& device, uint64_t offset, uint64_t value) {
  device.Write(offset, BytesOf(value));
}

}  // namespace mayfly
