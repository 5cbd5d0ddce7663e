#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "snapshot/encoding.h"

namespace mayfly {

// Writes values in the snapshot format: see encoding.h.
class Encoder {
 public:
  void Put(bool value) { bytes_.push_back(value ? 1 : 0); }

  template <encoding::Integer T>
  void Put(T value) {
    PutBytes(BytesOf(value));
  }

  template <encoding::Opaque T>
  void Put(const T& value) {
    PutBytes(BytesOf(value));
  }

  void Put(const std::string& text) {
    Put(static_cast<uint32_t>(text.size()));
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }

  template <class T, size_t kCount>
  void Put(const std::array<T, kCount>& values) {
    for (const T& value : values) Put(value);
  }

  template <class T>
  void Put(const std::vector<T>& values) {
    Put(static_cast<uint32_t>(values.size()));
    for (const T& value : values) Put(value);
  }

  template <encoding::Visitable T>
  void Put(const T& value) {
    T::Visit([&](const char*, auto member) { Put(value.*member); });
  }

  std::vector<uint8_t> Take() { return std::exchange(bytes_, {}); }

 private:
  void PutBytes(std::span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
  }

  std::vector<uint8_t> bytes_;
};

}  // namespace mayfly
