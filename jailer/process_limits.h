#pragma once

#include <cstdint>
#include <span>

#include "base/result.h"

namespace mayfly {

// What a process has of its parent, and what it may use up. For the jailed process itself, before
// it has other threads.

// Closes every descriptor but 0, 1, 2 and `keep`: what an unrelated part of the caller has open is
// no business of the machine's, and close-on-exec does not help a process that does not exec.
Result<void> CloseInherited(std::span<const int> keep);

// Overwrites the environment, not only forgets it: it often holds the caller's credentials.
void ClearEnvironment();

struct ProcessLimits {
  // Descriptors: what the VMM has open at the start, and connections of its vsock device.
  static constexpr uint64_t kOpenFiles = 1024;

  uint64_t open_files = kOpenFiles;
  // The largest file that it can write; a write beyond it fails. Nothing: no limit.
  uint64_t file_bytes = UINT64_MAX;
};

// No core dumps, no locked memory, no message queues; descriptors and files as `limits` say.
Result<void> SetProcessLimits(const ProcessLimits& limits);

}  // namespace mayfly
