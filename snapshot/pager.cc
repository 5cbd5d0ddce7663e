#include "snapshot/pager.h"

#include <poll.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>

#include "base/arithmetic.h"
#include "base/check.h"
#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;
// Runs of the working set that are pushed between two looks for faults: a fault waits for so many.
constexpr size_t kPushAtOnce = 4;

}  // namespace

Result<std::unique_ptr<Pager>> Pager::Create(GuestMemory* memory,
                                             std::unique_ptr<MemoryImage> image,
                                             const Options& options) {
  CHECK(options.run_bytes >= kPage && options.run_bytes <= kChunk);
  Userfaultfd uffd = TRY(Userfaultfd::Create());
  for (const MemoryRegion& region : memory->regions()) {
    TRY(uffd.Register(region.host, region.size));
  }
  memory->SetFilledOnTouch();
  if (options.check) TRY(image->LoadDigests());
  EventFd wake = TRY(EventFd::Create());
  std::unique_ptr<Pager> pager(
      new Pager(memory, std::move(image), std::move(uffd), std::move(wake), options));
  if (!options.check) {
    pager->source_ = TRY(Mapping::File(pager->image_->fd(), 0, pager->image_->bytes(), PROT_READ,
                                       MAP_SHARED | MAP_NORESERVE));
  }
  Pager* const self = pager.get();
  pager->thread_ = Thread("pager", [self] { self->Loop(); });
  return pager;
}

Pager::Pager(GuestMemory* memory, std::unique_ptr<MemoryImage> image, Userfaultfd uffd,
             EventFd wake, const Options& options)
    : memory_(memory),
      image_(std::move(image)),
      uffd_(std::move(uffd)),
      wake_(std::move(wake)),
      options_(options) {}

Pager::~Pager() {
  stop_.store(true, std::memory_order_release);
  wake_.Signal();
  thread_.Join();
}

Result<void> Pager::Begin(std::function<void(const Error&)> failed) {
  MutexLock lock(mutex_);
  if (failure_) return std::unexpected(*failure_);
  failed_ = std::move(failed);
  stage_ = Stage::kRunning;
  return {};
}

void Pager::AddVcpuThread(uint32_t thread) {
  MutexLock lock(mutex_);
  vcpu_threads_.insert(thread);
}

Result<void> Pager::PushAhead(const WorkingSet& set) {
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

void Pager::GuestHasEnded() {
  MutexLock lock(mutex_);
  stage_ = Stage::kEnded;
  // A page that cannot be filled holds up a device's thread, and there is nobody to tell.
  for (uint8_t* const page : held_) IgnoreFailure(uffd_.Zero(page, kPage));
  held_.clear();
}

WorkingSet Pager::TakeRecord() {
  MutexLock lock(mutex_);
  // The pager copies more slowly than a guest runs: it gets a lead of half.
  record_.first_stage = static_cast<uint32_t>(record_.runs.size() / 2);
  return std::exchange(record_, {});
}

void Pager::Loop() {
  std::array<pollfd, 2> events{{{uffd_.fd(), POLLIN, 0}, {wake_.fd(), POLLIN, 0}}};
  while (!stop_.load(std::memory_order_acquire)) {
    bool pushing = false;
    {
      MutexLock lock(mutex_);
      pushing = next_ahead_ < ahead_.size();
    }
    if (::poll(events.data(), events.size(), pushing ? 0 : -1) < 0) {
      CHECK(errno == EINTR);
      continue;
    }
    if (events[1].revents != 0) wake_.Clear();
    if (events[0].revents != 0) {
      const auto faults = uffd_.Read();
      CHECK(faults.has_value());
      for (const Userfaultfd::Fault& fault : *faults) Answer(fault);
    }
    if (pushing) PushSome();
  }
}

void Pager::Answer(const Userfaultfd::Fault& fault) {
  faults_.fetch_add(1, std::memory_order_relaxed);
  const auto offset = OffsetOf(fault.address);
  CHECK(offset.has_value());
  if (options_.record) {
    MutexLock lock(mutex_);
    record_.Add(static_cast<uint32_t>(*offset / kPage), fault.write);
  }
  const uint64_t start = AlignDown(*offset, options_.run_bytes);
  const uint64_t end = std::min(start + options_.run_bytes, RegionEnd(*offset));
  const Result<void> filled = Fill(start, end - start);
  if (!filled) Refuse(filled.error(), fault);
}

Result<void> Pager::Fill(uint64_t offset, uint64_t length) {
  if (options_.check) return FillChecked(offset, length);
  while (length > 0) {
    const uint64_t step = std::min(length, RegionEnd(offset) - offset);
    TRY(uffd_.Copy(HostAt(offset), {source_.data() + offset, step}));
    offset += step;
    length -= step;
  }
  return {};
}

Result<void> Pager::FillChecked(uint64_t offset, uint64_t length) {
  // PushAhead() comes from another thread than the faults.
  std::vector<uint8_t> chunk(kChunk);
  const uint64_t end = offset + length;
  while (offset < end) {
    const uint64_t start = AlignDown(offset, kChunk);
    const auto contents = std::span(chunk).first(std::min(kChunk, image_->bytes() - start));
    TRY(ReadExactAt(image_->fd(), contents, start, "memory"));
    TRY(image_->CheckChunk(start / kChunk, contents));
    const uint64_t stop = std::min({end, start + contents.size(), RegionEnd(offset)});
    TRY(uffd_.Copy(HostAt(offset), contents.subspan(offset - start, stop - offset)));
    offset = stop;
  }
  return {};
}

void Pager::PushSome() {
  for (size_t i = 0; i < kPushAtOnce; ++i) {
    WorkingSetRun run;
    {
      MutexLock lock(mutex_);
      if (next_ahead_ == ahead_.size()) return;
      run = ahead_[next_ahead_++];
    }
    // What cannot be had is reported when the guest asks for it.
    if (!Fill(run.page * kPage, run.count * kPage)) return;
  }
}

void Pager::Refuse(const Error& error, const Userfaultfd::Fault& fault) {
  MutexLock lock(mutex_);
  if (!failure_) {
    failure_ = error;
    if (failed_) failed_(error);
  }
  // What fails below leaves a thread waiting; the machine's end is under way already.
  if (stage_ != Stage::kRunning) {
    IgnoreFailure(uffd_.Zero(fault.address, kPage));
  } else if (!vcpu_threads_.contains(fault.thread)) {
    held_.push_back(fault.address);
  } else {
    // Nothing may be there instead of the page: KVM_RUN gets EFAULT and returns it.
    ::mmap(fault.address, kPage, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    IgnoreFailure(uffd_.Wake(fault.address, kPage));
  }
}

uint8_t* Pager::HostAt(uint64_t offset) const {
  for (const MemoryRegion& region : memory_->regions()) {
    if (offset < region.size) return region.host + offset;
    offset -= region.size;
  }
  return nullptr;
}

std::optional<uint64_t> Pager::OffsetOf(const uint8_t* host) const {
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory_->regions()) {
    if (host >= region.host && host < region.host + region.size) {
      return offset + static_cast<uint64_t>(host - region.host);
    }
    offset += region.size;
  }
  return std::nullopt;
}

uint64_t Pager::RegionEnd(uint64_t offset) const {
  uint64_t end = 0;
  for (const MemoryRegion& region : memory_->regions()) {
    end += region.size;
    if (offset < end) return end;
  }
  return end;
}

}  // namespace mayfly
