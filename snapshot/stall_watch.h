#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "snapshot/paged_regions.h"

namespace mayfly {

// Tells when nobody answers the faults of a userfaultfd any more: somebody has waited at every look
// for as long as the deadline, and not one page has come in that time. Looks are cheap while nobody
// waits. One thread.
class StallWatch {
 public:
  using Clock = std::chrono::steady_clock;

  // `uffd` is of this process, and so are `regions`. kUnsupported without /proc, which alone knows
  // who waits.
  static Result<StallWatch> Create(int uffd, PagedRegions regions,
                                   std::chrono::milliseconds deadline);
  // With what OpenInfo() has opened, for a process that may not open it any more.
  StallWatch(UniqueFd info, PagedRegions regions, std::chrono::milliseconds deadline)
      : info_(std::move(info)), regions_(std::move(regions)), deadline_(deadline) {}
  // What the kernel says of `uffd`, for as long as that very descriptor is open.
  static Result<UniqueFd> OpenInfo(int uffd);

  // To be called again after interval(). False if it cannot be known.
  [[nodiscard]] bool Stalled(Clock::time_point now);
  [[nodiscard]] std::chrono::milliseconds interval() const;

 private:
  [[nodiscard]] bool SomebodyWaits() const;
  // Pages that are there.
  [[nodiscard]] uint64_t Present();

  UniqueFd info_;  // /proc/self/fdinfo/UFFD
  PagedRegions regions_;
  std::chrono::milliseconds deadline_;
  bool waiting_ = false;
  uint64_t present_ = 0;
  Clock::time_point since_;  // Of waiting_, or of the last page that came.
  std::vector<unsigned char> residency_;
};

}  // namespace mayfly
