#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "base/unique_fd.h"
#include "vmm/capi/status.h"
#include "vmm/include/mayfly.h"

namespace mayfly::capi {

// Copies a caller's structure, which begins with its size: what an older caller has not is 0, what
// a newer one has more must be 0. `out` is zero before. A null pointer is all zeros.
template <class T>
Check ReadOptions(const T* given, T* out) {
  if (given == nullptr) return {};
  size_t size = 0;
  std::memcpy(&size, given, sizeof(size));
  if (size < sizeof(size)) return FailWith(MAYFLY_E_INVALID, "options: their size is not set");
  // A size that is no size would have us read all of the caller's memory.
  constexpr size_t kMostBytes = 4096;
  if (size > kMostBytes) return FailWith(MAYFLY_E_INVALID, "options: their size is too large");
  const auto* const bytes = reinterpret_cast<const unsigned char*>(given);
  for (size_t i = sizeof(T); i < size; ++i) {
    if (bytes[i] != 0) {
      return FailWith(MAYFLY_E_UNSUPPORTED, "options: made for a newer version of the library");
    }
  }
  std::memcpy(static_cast<void*>(out), given, std::min(size, sizeof(T)));
  return {};
}

// Fills a caller's structure, which begins with its size: no more than the caller has.
template <class T>
Status WriteInfo(T info, T* out) {
  if (out == nullptr) return FailWith(MAYFLY_E_INVALID, "a null pointer for the result");
  size_t size = 0;
  std::memcpy(&size, out, sizeof(size));
  if (size < sizeof(size)) return FailWith(MAYFLY_E_INVALID, "the result's size is not set");
  info.size = size;
  std::memcpy(static_cast<void*>(out), &info, std::min(size, sizeof(T)));
  return 0;
}

// A caller's text; a null pointer is an empty one. MAYFLY_E_INVALID, naming `what`, if it does not
// end in time.
Result<std::string> ReadText(const char* text, std::string_view what);
// The same for one that must be there.
Result<std::string> ReadPath(const char* text, std::string_view what);

// A caller's descriptor, duplicated; invalid if it is negative.
Result<UniqueFd> DuplicateOrNone(int fd);

// Into `out`, cut to fit and ended with a NUL.
void CopyText(std::string_view text, std::span<char> out);

// Into a caller's buffer: `*size` is its room before, and the number of bytes after.
Status CopyOut(std::span<const uint8_t> bytes, void* buffer, size_t* size);

}  // namespace mayfly::capi
