#include "snapshot/fault_server.h"

#include <poll.h>

#include <algorithm>
#include <array>

#include "base/arithmetic.h"
#include "base/check.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
// What is pushed between two looks for faults: a fault waits for so many runs and pages.
constexpr uint32_t kRunsAtOnce = 4;
constexpr uint32_t kPagesAtOnce = 16;

}  // namespace

Result<std::unique_ptr<FaultServer>> FaultServer::Create(Resources resources,
                                                         const FaultServerOptions& options) {
  CHECK(options.run_bytes >= kPage && options.run_bytes <= MemoryLayout::kChunk);
  EventFd wake = TRY(EventFd::Create());
  std::unique_ptr<FaultServer> server(
      new FaultServer(std::move(resources), std::move(wake), options));
  FaultServer* const self = server.get();
  server->thread_ = Thread("pager", [self] {
    if (self->options_.on_start) self->options_.on_start();
    self->Loop();
  });
  return server;
}

FaultServer::~FaultServer() {
  stop_.store(true, std::memory_order_release);
  wake_.Signal();
  thread_.Join();
}

Result<void> FaultServer::PushAhead(const WorkingSet& set) {
  for (size_t i = 0; i < set.first_stage; ++i) {
    TRY(Fill(set.runs[i].page * kPage, set.runs[i].count * kPage));
  }
  {
    MutexLock lock(mutex_);
    ahead_.assign(set.runs.begin() + set.first_stage, set.runs.end());
    next_ahead_ = 0;
  }
  wake_.Signal();
  return {};
}

WorkingSet FaultServer::TakeRecord() {
  MutexLock lock(mutex_);
  // The pager copies more slowly than a guest runs: it gets a lead of half.
  record_.first_stage = static_cast<uint32_t>(record_.runs.size() / 2);
  return std::exchange(record_, {});
}

void FaultServer::Loop() {
  std::array<pollfd, 2> events{{{resources_.uffd.fd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}}};
  bool pushing = false;
  while (!stop_.load(std::memory_order_acquire)) {
    if (::poll(events.data(), events.size(), pushing ? 0 : -1) < 0) {
      CHECK(errno == EINTR);
      continue;
    }
    if (events[1].revents != 0) {
      wake_.Clear();
      pushing = true;
    }
    if (events[0].revents != 0 && !AnswerAll()) return;
    if (pushing) pushing = PushSome();
  }
}

bool FaultServer::AnswerAll() {
  const auto faults = resources_.uffd.Read();
  if (!faults) {
    resources_.refuse(resources_.uffd, faults.error(), 0);
    return false;
  }
  for (const Userfaultfd::Fault& fault : *faults) Answer(fault);
  return true;
}

void FaultServer::Answer(const Userfaultfd::Fault& fault) {
  faults_.fetch_add(1, std::memory_order_relaxed);
  const auto offset = resources_.regions.OffsetOf(fault.address);
  if (!offset) {
    resources_.refuse(resources_.uffd,
                      Error(ErrorCode::kInvalidArgument, "a fault outside of all regions"),
                      fault.address);
    return;
  }
  if (options_.record) {
    MutexLock lock(mutex_);
    record_.Add(static_cast<uint32_t>(*offset / kPage), fault.write);
  }
  const PagedRegion& region = *resources_.regions.At(*offset);
  const uint64_t start = std::max(AlignDown(*offset, options_.run_bytes), region.offset);
  const uint64_t end = std::min(AlignDown(*offset, options_.run_bytes) + options_.run_bytes,
                                region.offset + region.size);
  const Result<void> filled = Fill(start, end - start);
  if (!filled) resources_.refuse(resources_.uffd, filled.error(), fault.address);
}

Result<void> FaultServer::Fill(uint64_t offset, uint64_t length) {
  while (length > 0) {
    const PagedRegion* const region = resources_.regions.At(offset);
    if (region == nullptr) return {};
    const uint64_t in_region = offset - region->offset;
    const uint64_t step = std::min(length, region->size - in_region);
    TRY(resources_.source->Fill(resources_.uffd, region->host + in_region, offset, step));
    offset += step;
    length -= step;
  }
  return {};
}

bool FaultServer::PushSome() {
  uint32_t pages = kPagesAtOnce;
  for (uint32_t runs = 0; runs < kRunsAtOnce && pages > 0; ++runs) {
    WorkingSetRun run;
    {
      MutexLock lock(mutex_);
      if (next_ahead_ == ahead_.size()) return false;
      WorkingSetRun& next = ahead_[next_ahead_];
      run = next;
      run.count = std::min(run.count, pages);
      next.page += run.count;
      next.count -= run.count;
      if (next.count == 0) ++next_ahead_;
    }
    pages -= run.count;
    // What cannot be had is reported when the guest asks for it.
    if (!Fill(run.page * kPage, run.count * kPage)) return true;
  }
  return true;
}

}  // namespace mayfly
