#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/event_fd.h"
#include "base/mapping.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "snapshot/memory_image.h"
#include "snapshot/userfaultfd.h"
#include "snapshot/working_set.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Fills a restored guest's memory from a MemoryImage while the guest runs: a thread that answers
// the faults of a userfaultfd, and between them pushes the working set ahead. Owned by the machine;
// the memory outlives it, and whoever touches the memory ends before it.
//
// A page that cannot be had (the file is damaged, or gone) ends the machine: the vCPU that waits
// for it gets an error instead, and never zeros. Another thread that waits for it, a device's, goes
// on when no vCPU runs any more and nobody sees what it does.
class Pager {
 public:
  struct Options {
    // How much is filled around a fault, aligned: a power of two from a page to a chunk.
    uint64_t run_bytes = MemoryLayout::kChunk;
    // Chunks are compared with their digests before the guest can see them. False for a file that
    // was checked as a whole.
    bool check = true;
    // Keeps the order of the faults, for TakeRecord().
    bool record = false;
  };

  // From now on every page that anybody touches comes from `image`.
  static Result<std::unique_ptr<Pager>> Create(GuestMemory* memory,
                                               std::unique_ptr<MemoryImage> image,
                                               const Options& options);
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;
  ~Pager();

  // The machine is built and the guest is about to run. Until then a page that cannot be had is
  // filled with zeros, and this call returns the error; after it `failed` is called once, on the
  // pager's thread.
  Result<void> Begin(std::function<void(const Error&)> failed);
  // A thread whose faults are a guest's. Any thread.
  void AddVcpuThread(uint32_t thread);

  // Fills the runs of `set` in order: the first stage before it returns, the rest beside the guest.
  Result<void> PushAhead(const WorkingSet& set);

  // No vCPU runs any more.
  void GuestHasEnded();

  // The faults so far, in order; none unless Options::record.
  [[nodiscard]] WorkingSet TakeRecord();
  [[nodiscard]] uint64_t fault_count() const { return faults_.load(std::memory_order_relaxed); }

 private:
  Pager(GuestMemory* memory, std::unique_ptr<MemoryImage> image, Userfaultfd uffd, EventFd wake,
        const Options& options);

  void Loop();
  void Answer(const Userfaultfd::Fault& fault);
  // Fills `length` bytes at `offset` of the image.
  Result<void> Fill(uint64_t offset, uint64_t length);
  Result<void> FillChecked(uint64_t offset, uint64_t length);
  void PushSome();
  void Refuse(const Error& error, const Userfaultfd::Fault& fault);
  // Between an offset in the image and an address of the process; none if there is none.
  [[nodiscard]] uint8_t* HostAt(uint64_t offset) const;
  [[nodiscard]] std::optional<uint64_t> OffsetOf(const uint8_t* host) const;
  // How far from `offset` on one region goes.
  [[nodiscard]] uint64_t RegionEnd(uint64_t offset) const;

  GuestMemory* const memory_;
  const std::unique_ptr<MemoryImage> image_;
  const Userfaultfd uffd_;
  const EventFd wake_;
  const Options options_;
  Mapping source_;  // The image, for what was checked as a whole. Only the kernel reads through it.
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> faults_{0};

  enum class Stage { kBuilding, kRunning, kEnded };

  Mutex mutex_;
  Stage stage_ GUARDED_BY(mutex_) = Stage::kBuilding;
  std::set<uint32_t> vcpu_threads_ GUARDED_BY(mutex_);
  std::vector<uint8_t*> held_ GUARDED_BY(mutex_);  // Pages that devices wait for in vain.
  std::function<void(const Error&)> failed_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);
  std::vector<WorkingSetRun> ahead_ GUARDED_BY(mutex_);
  size_t next_ahead_ GUARDED_BY(mutex_) = 0;
  WorkingSet record_ GUARDED_BY(mutex_);

  Thread thread_;  // Last: joined before the rest goes.
};

}  // namespace mayfly
