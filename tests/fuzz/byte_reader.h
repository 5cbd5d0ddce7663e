#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace mayfly {

// A fuzzer's input as a stream of values. Where it ends, everything is zero, so that every input is
// a whole story.
class ByteReader {
 public:
  ByteReader(const uint8_t* data, size_t size) : rest_(data, size) {}

  [[nodiscard]] bool empty() const { return rest_.empty(); }

  template <class T>
    requires std::is_trivially_copyable_v<T>
  T Take() {
    T value{};
    const auto bytes = TakeBytes(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // One byte, as a number below `limit`.
  unsigned Below(unsigned limit) { return Take<uint8_t>() % limit; }
  bool Flag() { return (Take<uint8_t>() & 1) != 0; }

  // The next `most` bytes, or what there is.
  std::span<const uint8_t> TakeBytes(size_t most) {
    const auto bytes = rest_.first(std::min(most, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace mayfly
