#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/event_fd.h"
#include "base/mutex.h"
#include "base/thread.h"
#include "snapshot/memory_image.h"
#include "snapshot/page_source.h"
#include "snapshot/paged_regions.h"
#include "snapshot/userfaultfd.h"
#include "snapshot/working_set.h"

namespace mayfly {

struct FaultServerOptions {
  // How much is filled around a fault, aligned: a power of two from a page to a chunk.
  uint64_t run_bytes = MemoryLayout::kChunk;
  // Keeps the order of the faults, for TakeRecord().
  bool record = false;
  int userfaultfd = -1;              // As for Userfaultfd::Create(); for LocalPager.
  std::function<void()> on_start{};  // Called first in the server's thread; may be empty.
};

// A thread that answers the faults of one machine's memory, of this process or of another one, and
// between them pushes a working set ahead.
class FaultServer {
 public:
  // On the server's thread, for a page that cannot be filled; whoever waits for it goes on waiting.
  // With an address of 0 for a descriptor that cannot be read any more, which is the last call.
  using Refuse = std::function<void(const Userfaultfd& uffd, const Error& error, uint64_t address)>;

  struct Resources {
    Userfaultfd uffd;
    PagedRegions regions;
    PageSource* source;  // Outlives the server.
    Refuse refuse;
  };

  static Result<std::unique_ptr<FaultServer>> Create(Resources resources,
                                                     const FaultServerOptions& options);
  FaultServer(const FaultServer&) = delete;
  FaultServer& operator=(const FaultServer&) = delete;
  ~FaultServer();

  // Fills the runs of `set` in order: the first stage before it returns, the rest beside the guest.
  Result<void> PushAhead(const WorkingSet& set);

  [[nodiscard]] WorkingSet TakeRecord();
  [[nodiscard]] uint64_t fault_count() const { return faults_.load(std::memory_order_relaxed); }

 private:
  FaultServer(Resources resources, EventFd wake, const FaultServerOptions& options)
      : resources_(std::move(resources)), wake_(std::move(wake)), options_(options) {}

  void Loop();
  // False if there is no use in going on.
  bool AnswerAll();
  void Answer(const Userfaultfd::Fault& fault);
  // Fills `length` bytes at `offset` of the image; what no region has is left out.
  Result<void> Fill(uint64_t offset, uint64_t length);
  // False when nothing is left to be pushed.
  bool PushSome();

  const Resources resources_;
  const EventFd wake_;
  const FaultServerOptions options_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> faults_{0};

  Mutex mutex_;
  std::vector<WorkingSetRun> ahead_ GUARDED_BY(mutex_);
  size_t next_ahead_ GUARDED_BY(mutex_) = 0;
  WorkingSet record_ GUARDED_BY(mutex_);

  Thread thread_;  // Last: joined before the rest goes.
};

}  // namespace mayfly
