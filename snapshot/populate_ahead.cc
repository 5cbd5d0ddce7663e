#include "snapshot/populate_ahead.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;

void Populate(const GuestMemory& memory, const WorkingSetRun& run) {
  uint64_t offset = run.page * kPage;
  for (const MemoryRegion& region : memory.regions()) {
    if (offset < region.size) {
      memory.Populate(region.start + offset, run.count * kPage, run.written);
      return;
    }
    offset -= region.size;
  }
}

}  // namespace

std::unique_ptr<PopulateAhead> PopulateAhead::Start(const GuestMemory* memory,
                                                    const WorkingSet& set) {
  for (size_t i = 0; i < set.first_stage; ++i) Populate(*memory, set.runs[i]);
  std::unique_ptr<PopulateAhead> ahead(new PopulateAhead());
  if (set.first_stage == set.runs.size()) return ahead;
  ahead->thread_ = Thread(
      "populate", [self = ahead.get(), memory,
                   runs = std::vector(set.runs.begin() + set.first_stage, set.runs.end())] {
        for (const WorkingSetRun& run : runs) {
          if (self->stop_.load(std::memory_order_relaxed)) return;
          Populate(*memory, run);
        }
      });
  return ahead;
}

PopulateAhead::~PopulateAhead() {
  stop_.store(true, std::memory_order_relaxed);
  thread_.Join();
}

}  // namespace mayfly
