#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/result.h"
#include "snapshot/fault_server.h"
#include "snapshot/memory_image.h"
#include "snapshot/pager.h"
#include "snapshot/remote_pager.h"
#include "snapshot/verified_stamp.h"
#include "snapshot/working_set.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// How a clone's memory is filled.
enum class MemoryWay {
  kMap,    // A private mapping of the file: clean pages are shared by all clones.
  kUffd,   // Page by page as the guest touches them, by a Pager.
  kEager,  // All of it before the guest runs.
};

struct MemoryOptions {
  MemoryWay way = MemoryWay::kMap;
  // Trusts the file instead of comparing it with its digests.
  bool unverified = false;
  // Where it is remembered what was compared; may be null.
  const VerifiedStamps* stamps = nullptr;
  Sha256Digest manifest{};                  // What the stamps are for.
  const WorkingSet* working_set = nullptr;  // May be null.
  FaultServerOptions pager{};
  // For kUffd by a process of its own, which then checks and fills as it was told: nothing of the
  // above is used. Null for a thread of this process.
  const RemotePager::Options* remote = nullptr;
};

struct RestoredMemory {
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<Pager> pager{};  // kUffd only.
};

// Looks at the stamps now, and for kMap at the memory, for whoever calls RestoreMemory() where it
// has no stamps to look at. Returns the options for that.
Result<MemoryOptions> SettleStamps(MemoryImage& image, MemoryOptions options);

// Guest memory with the contents of `image`. What the guest will see is compared with its digests
// first: kCorrupt, naming the chunk, if it differs.
Result<RestoredMemory> RestoreMemory(std::unique_ptr<MemoryImage> image,
                                     const MemoryOptions& options);

}  // namespace mayfly
