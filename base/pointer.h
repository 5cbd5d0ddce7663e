#pragma once

#include <cstdint>

namespace mayfly {

// The pointer with this value: for addresses of this process that travel as numbers, as they do
// through userfaultfd, and for handles that are no addresses at all.
template <class T = void>
T* PointerOf(uint64_t value) {
  return reinterpret_cast<T*>(value);  // NOLINT(performance-no-int-to-ptr): asked for here alone
}

}  // namespace mayfly
