#pragma once

#include <string>

#include "base/result.h"
#include "vmm/function/image_tree.h"

namespace mayfly {

// Where a function's own files stand in the image.
inline constexpr char kTaskRoot[] = "/var/task";

// Copies what the C library's loader needs for any dynamically linked program: itself and libc.
Result<void> AddCLibrary(ImageTree& tree);

// Copies the shared libraries that programs and libraries in `tree` need, and what those need in
// turn, from the host; libraries are looked for where the guest's loader will look. None of the
// files is run. kInvalidArgument names the library that is not found and the file that needs it.
Result<void> AddLibraryClosure(ImageTree& tree);

}  // namespace mayfly
