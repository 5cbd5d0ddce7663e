#pragma once

#include <concepts>
#include <optional>

namespace mayfly {

// a + b and a * b, or nothing if the result does not fit.
template <std::unsigned_integral T>
std::optional<T> CheckedAdd(T a, T b) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) return std::nullopt;
  return result;
}

template <std::unsigned_integral T>
std::optional<T> CheckedMul(T a, T b) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

// True if [offset, offset + length) lies within [0, size), written so that nothing can wrap.
template <std::unsigned_integral T>
constexpr bool RangeFits(T offset, T length, T size) {
  return offset <= size && length <= size - offset;
}

// `alignment` is a power of two.
template <std::unsigned_integral T>
constexpr T AlignDown(T value, T alignment) {
  return value & ~(alignment - 1);
}

template <std::unsigned_integral T>
constexpr T AlignUp(T value, T alignment) {
  return AlignDown(static_cast<T>(value + alignment - 1), alignment);
}

template <std::unsigned_integral T>
constexpr bool IsAligned(T value, T alignment) {
  return (value & (alignment - 1)) == 0;
}

}  // namespace mayfly
