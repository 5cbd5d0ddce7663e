#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "snapshot/encoding.h"
#include "snapshot/machine_state.h"

namespace mayfly {

// Sets every field to another value, so that one that is left out, or in another's place, is seen.
class FieldFiller {
 public:
  void Fill(bool& value) { value = ++count_ % 2 == 1; }

  template <encoding::Integer T>
  void Fill(T& value) {
    value = static_cast<T>(++count_ * 0x0101'0101'0101'0101ULL);
  }

  template <encoding::Opaque T>
  void Fill(T& value) {
    for (uint8_t& byte : MutableBytesOf(value)) Fill(byte);
  }

  void Fill(std::string& text) { text = "text" + std::to_string(++count_); }

  template <class T, size_t kCount>
  void Fill(std::array<T, kCount>& values) {
    for (T& value : values) Fill(value);
  }

  template <class T>
  void Fill(std::vector<T>& values) {
    values.resize(2);
    for (T& value : values) Fill(value);
  }

  template <encoding::Visitable T>
  void Fill(T& value) {
    T::Visit([&](const char*, auto member) { Fill(value.*member); });
  }

 private:
  uint64_t count_ = 0;
};

// A state with one vCPU and two of every device: the golden file's, so a change to it changes that.
inline MachineState SampleState(uint64_t memory_bytes = 1 << 20) {
  MachineState state;
  state.memory_bytes = memory_bytes;
  state.vcpus.resize(1);
  FieldFiller filler;
  filler.Fill(state.clock_ns);
  filler.Fill(state.vcpus[0]);
  filler.Fill(state.ioapic);
  filler.Fill(state.serial);
  filler.Fill(state.generation);
  filler.Fill(state.virtio);
  filler.Fill(state.disks);
  filler.Fill(state.nets);
  filler.Fill(state.vsocks);
  filler.Fill(state.balloons);
  return state;
}

}  // namespace mayfly
