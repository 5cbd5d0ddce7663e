#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "snapshot/encoding.h"

namespace mayfly {

// Reads what an Encoder wrote, or what somebody made of it: errors are kCorrupt and name the field.
// What is allocated is bounded by the bytes that are there, times the size of the largest element.
class Decoder {
 public:
  explicit Decoder(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  Result<void> Get(bool& value) {
    uint8_t byte = 0;
    TRY(Get(byte));
    if (byte > 1) return Fail(ErrorCode::kCorrupt, fmt::format("{} is neither 0 nor 1", byte));
    value = byte == 1;
    return {};
  }

  template <encoding::Integer T>
  Result<void> Get(T& value) {
    return GetBytes(MutableBytesOf(value));
  }

  template <encoding::Opaque T>
  Result<void> Get(T& value) {
    return GetBytes(MutableBytesOf(value));
  }

  Result<void> Get(std::string& text) {
    const uint32_t size = TRY(GetCount());
    text.assign(reinterpret_cast<const char*>(bytes_.data()), size);
    bytes_ = bytes_.subspan(size);
    return {};
  }

  template <class T, size_t kCount>
  Result<void> Get(std::array<T, kCount>& values) {
    for (T& value : values) TRY(Get(value));
    return {};
  }

  Result<void> Get(std::vector<uint8_t>& bytes) {
    const uint32_t count = TRY(GetCount());
    bytes.assign(bytes_.begin(), bytes_.begin() + count);
    bytes_ = bytes_.subspan(count);
    return {};
  }

  template <class T>
  Result<void> Get(std::vector<T>& values) {
    const uint32_t count = TRY(GetCount());
    values.clear();
    for (uint32_t i = 0; i < count; ++i) {
      Result<void> element = Get(values.emplace_back());
      if (!element) return WithContext(std::move(element), fmt::format("[{}]", i));
    }
    return {};
  }

  template <encoding::Visitable T>
  Result<void> Get(T& value) {
    Result<void> result;
    T::Visit([&](const char* name, auto member) {
      if (result) result = WithContext(Get(value.*member), name);
    });
    return result;
  }

  // kCorrupt if bytes are left.
  Result<void> Finish() const {
    if (bytes_.empty()) return {};
    return Fail(ErrorCode::kCorrupt, fmt::format("{} bytes too many", bytes_.size()));
  }

 private:
  // Of elements that take a byte each at least.
  Result<uint32_t> GetCount() {
    uint32_t count = 0;
    TRY(Get(count));
    if (count > bytes_.size()) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("{} elements, but {} bytes are left", count, bytes_.size()));
    }
    return count;
  }

  Result<void> GetBytes(std::span<uint8_t> out) {
    if (bytes_.size() < out.size()) return Fail(ErrorCode::kCorrupt, "the data ends too early");
    std::memcpy(out.data(), bytes_.data(), out.size());
    bytes_ = bytes_.subspan(out.size());
    return {};
  }

  std::span<const uint8_t> bytes_;
};

}  // namespace mayfly
