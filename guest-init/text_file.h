#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly::init {

// Writes `text` to a file that exists: a knob of the kernel's.
Result<void> WriteText(const std::string& path, std::string_view text);

// The file's text, at most `limit` bytes of it.
Result<std::string> ReadText(const std::string& path, size_t limit = size_t{64} * 1024);

}  // namespace mayfly::init
