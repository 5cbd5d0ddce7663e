#pragma once

#include <atomic>
#include <memory>

#include "base/thread.h"
#include "snapshot/working_set.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Makes the pages of a working set present in memory that is mapped from a file, in their order, on
// a thread of its own beside the guest. Owned by the machine; the memory outlives it.
class PopulateAhead {
 public:
  // The first stage is done when it returns.
  static std::unique_ptr<PopulateAhead> Start(const GuestMemory* memory, const WorkingSet& set);
  PopulateAhead(const PopulateAhead&) = delete;
  PopulateAhead& operator=(const PopulateAhead&) = delete;
  // Leaves the rest.
  ~PopulateAhead();

 private:
  PopulateAhead() = default;

  std::atomic<bool> stop_{false};
  Thread thread_;  // Last: joined before the rest goes.
};

}  // namespace mayfly
