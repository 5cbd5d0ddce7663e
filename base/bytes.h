#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace mayfly {

static_assert(std::endian::native == std::endian::little, "mayfly runs on x86-64 only");

// Little-endian integers in byte buffers of any alignment. The caller has checked the size:
// `bytes.size() >= sizeof(T)`.
template <class T>
  requires std::is_trivially_copyable_v<T>
T LoadLe(std::span<const uint8_t> bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <class T>
  requires std::is_trivially_copyable_v<T>
void StoreLe(std::span<uint8_t> bytes, T value) {
  std::memcpy(bytes.data(), &value, sizeof(T));
}

// The bytes of a plain value, for writing it out.
template <class T>
  requires std::is_trivially_copyable_v<T>
std::span<const uint8_t> BytesOf(const T& value) {
  return {reinterpret_cast<const uint8_t*>(&value), sizeof(T)};
}

template <class T>
  requires std::is_trivially_copyable_v<T>
std::span<uint8_t> MutableBytesOf(T& value) {
  return {reinterpret_cast<uint8_t*>(&value), sizeof(T)};
}

}  // namespace mayfly
