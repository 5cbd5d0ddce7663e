#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <functional>

#include "base/result.h"
#include "snapshot/memory_image.h"
#include "snapshot/restored_memory.h"
#include "snapshot/working_set.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Steps that the ways to fill memory have in common.

// Whether the image need not be compared with its digests any more, or shall not be.
Result<bool> IsStamped(const MemoryImage& image, const MemoryOptions& options);

// Where `offset` of an image lies in the guest's memory; no address of it if it does not.
GuestAddress AddressOf(const GuestMemory& memory, uint64_t offset);

// How much of [offset, offset + length), which begins in the memory, lies in the same region.
uint64_t LengthInRegion(const GuestMemory& memory, uint64_t offset, uint64_t length);

// Makes the pages of a mapping present. Before KVM knows the memory: populated beside the guest,
// each page that is made writable would be taken away from the guest once more.
void PopulateAhead(const GuestMemory& memory, const WorkingSet& set);

// Reads `size` bytes at `offset` of a memory file, holes left out, to where `place(at, length)`
// says that the bytes from offset + `at` on belong. kCorrupt if the file ends before.
using Place = std::function<iovec(uint64_t at, uint64_t length)>;
Result<void> ReadMemoryFile(int fd, uint64_t offset, uint64_t size, const Place& place);
// The same of all of an image; `place` can have room for less than it is asked for.
Result<void> ReadLayers(const MemoryLayers& layers, const Place& place);
// All of it into guest memory.
Result<void> ReadMemoryFile(int fd, const GuestMemory& memory);

}  // namespace mayfly
