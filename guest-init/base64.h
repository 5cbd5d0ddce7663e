#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace mayfly::init {

// The bytes that standard base64 stands for, with or without padding; empty if it is not base64.
std::vector<uint8_t> DecodeBase64(std::string_view text);

}  // namespace mayfly::init
