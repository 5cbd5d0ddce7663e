#pragma once

#include <cstdint>

namespace mayfly {

// Clones that a zygote has waiting ahead of their requests.
inline constexpr uint32_t kMostZygoteStock = 256;

}  // namespace mayfly
