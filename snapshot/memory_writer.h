#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "snapshot/memory_image.h"
#include "snapshot/memory_layers.h"
#include "snapshot/page_runs.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Writes all of `memory` into `fd`, an empty file. Nobody may change the memory meanwhile. Returns
// the bytes that are not in holes.
Result<uint64_t> WriteMemory(const GuestMemory& memory, int fd);

// The same into a file that has the memory's size, by a process that may only write: it looks at
// every page.
Result<uint64_t> WriteEveryPage(const GuestMemory& memory, int fd);

// Writes the pages of `memory` that are not as in `parent`, which it was restored from, and returns
// which they are. Otherwise the same.
Result<PageRuns> WriteDifference(const GuestMemory& memory, const MemoryLayers& parent, int fd);

// The digests of a memory's chunks, read back from its files.
Result<std::vector<Sha256Digest>> DigestMemory(const MemoryLayers& layers);

// The same for a memory that is `parent`, whose digests are `digests`, with `pages` of `fd` over
// it.
Result<std::vector<Sha256Digest>> DigestDifference(const MemoryLayers& parent, int fd,
                                                   const PageRuns& pages,
                                                   std::vector<Sha256Digest> digests);

// Writes the pages of `contents` that are not zero at `offset`.
Result<void> WritePages(int fd, std::span<const uint8_t> contents, uint64_t offset);

}  // namespace mayfly
