#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "base/sha256.h"
#include "vmm/function/interrupts.h"

namespace mayfly {

struct BuildSummary {
  uint64_t files = 0;        // Copied into the image.
  uint64_t bytes = 0;        // In those files.
  uint64_t image_bytes = 0;  // Of the whole .mfn file.
  Sha256Digest image_digest{};
};

// Packs the function in `directory` into the function image `output`, which appears whole or not at
// all; a file of that name is replaced. Equal directories give equal bytes, whatever their
// timestamps, owners and path. While it runs there is a directory .mayfly-build.* beside `output`.
//
// kInvalidArgument for what is wrong with the function, kUnsupported if mkfs.erofs is missing,
// kTooLarge above ImageTree::kMostBytes, kCancelled if a signal arrives.
Result<BuildSummary> BuildFunctionImage(const std::string& directory, const std::string& output,
                                        const Interrupts& interrupts);

}  // namespace mayfly
