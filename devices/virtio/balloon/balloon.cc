#include "devices/virtio/balloon/balloon.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/balloon/balloon_abi.h"
#include "devices/virtio/config_space.h"

namespace mayfly {
namespace {

constexpr uint64_t kPageSize = 1ULL << balloon::kPageShift;
// Page numbers that are read, sorted and joined at a time.
constexpr size_t kNumbersAtOnce = 1024;

}  // namespace

Result<std::unique_ptr<BalloonDevice>> BalloonDevice::Create(Resources resources,
                                                             const BalloonState& state) {
  CHECK(resources.memory != nullptr && resources.loop != nullptr);
  if (state.target_pages > resources.memory->size() / kPageSize) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: target_pages: {}, but the memory has {}", resources.name,
                            state.target_pages, resources.memory->size() / kPageSize));
  }
  return std::unique_ptr<BalloonDevice>(new BalloonDevice(resources, state));
}

BalloonDevice::BalloonDevice(const Resources& resources, const BalloonState& state)
    : memory_(resources.memory),
      loop_(resources.loop),
      stats_interval_(resources.stats_interval),
      deflate_on_oom_(state.deflate_on_oom),
      log_(resources.log, resources.name),
      target_pages_(state.target_pages),
      actual_pages_(state.actual_pages) {
  metrics_.target.Set(target_pages_ * kPageSize);
  metrics_.actual.Set(actual_pages_ * kPageSize);
}

BalloonDevice::~BalloonDevice() {
  MutexLock lock(mutex_);
  if (stats_timer_ != 0) loop_->Cancel(stats_timer_);
}

Result<void> BalloonDevice::SetTarget(uint64_t bytes) {
  if (bytes > memory_->size()) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("balloon: {} bytes, but the memory has {}", bytes, memory_->size()));
  }
  {
    MutexLock lock(mutex_);
    target_pages_ = static_cast<uint32_t>(bytes / kPageSize);
    metrics_.target.Set(target_pages_ * kPageSize);
  }
  if (config_changed_) config_changed_();
  return {};
}

uint64_t BalloonDevice::features() const {
  return balloon::kFeaturePageReporting |
         (stats_interval_.count() > 0 ? balloon::kFeatureStatsQueue : 0) |
         (deflate_on_oom_ ? balloon::kFeatureDeflateOnOom : 0);
}

void BalloonDevice::ReadConfig(uint64_t offset, std::span<uint8_t> out) {
  MutexLock lock(mutex_);
  const balloon::Config config{target_pages_, actual_pages_};
  CopyConfig(BytesOf(config), offset, out);
}

void BalloonDevice::WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset != balloon::kActualOffset || bytes.size() != sizeof(uint32_t)) return;
  MutexLock lock(mutex_);
  actual_pages_ = LoadLe<uint32_t>(bytes);
  metrics_.actual.Set(actual_pages_ * kPageSize);
}

void BalloonDevice::Activate(std::vector<Virtqueue> queues, uint64_t driver_features) {
  MutexLock lock(mutex_);
  queues_ = std::move(queues);
  has_stats_ = (driver_features & balloon::kFeatureStatsQueue) != 0;
  // The specification numbers the queues as if all were there (5.5.2); Linux, and so everybody
  // else, leaves no gaps.
  const uint16_t next = has_stats_ ? kStats + 1 : kStats;
  reporting_queue_ = (driver_features & balloon::kFeaturePageReporting) != 0 ? next : 0;
  if (has_stats_) ScheduleStatsLocked();
}

void BalloonDevice::Reset() {
  MutexLock lock(mutex_);
  if (stats_timer_ != 0) loop_->Cancel(stats_timer_);
  stats_timer_ = 0;
  queues_.clear();
  done_.fill(0);
  stats_read_ = false;
  paused_ = false;
  actual_pages_ = 0;
  metrics_.actual.Set(0);
}

void BalloonDevice::Drain() {
  MutexLock lock(mutex_);
  paused_ = true;
}

std::vector<VirtqueueState> BalloonDevice::SaveQueues() const {
  MutexLock lock(mutex_);
  std::vector<VirtqueueState> states;
  states.reserve(queues_.size());
  for (const Virtqueue& queue : queues_) states.push_back(queue.Save());
  return states;
}

BalloonState BalloonDevice::Save() const {
  MutexLock lock(mutex_);
  return {target_pages_, actual_pages_, deflate_on_oom_};
}

void BalloonDevice::ProcessQueue(uint16_t index) {
  MutexLock lock(mutex_);
  paused_ = false;
  if (index == kInflate) {
    DrainLocked(index, &BalloonDevice::InflateLocked);
  } else if (index == kDeflate) {
    DrainLocked(index, &BalloonDevice::DeflateLocked);
  } else if (has_stats_ && index == kStats) {
    ReadStatsLocked();
  } else if (reporting_queue_ != 0 && index == reporting_queue_) {
    DrainLocked(index, &BalloonDevice::ReportLocked);
  }
}

void BalloonDevice::DrainLocked(uint16_t index, Handler handler) {
  Virtqueue& queue = queues_[index];
  Budget budget;
  // At most what the queue holds at once: another vCPU can refill it as fast as it is emptied.
  for (uint16_t i = 0; i < kQueueSize; ++i) {
    std::optional<DescriptorChain> chain = queue.Pop();
    if (!chain) {
      queue.Notify();
      return;
    }
    if (!(this->*handler)(*chain, done_[index], budget)) {
      queue.UndoPop(*std::move(chain));
      break;
    }
    done_[index] = 0;
    queue.Complete(*std::move(chain), 0);
  }
  queue.Notify();
  queue.ProcessLater();
}

bool BalloonDevice::InflateLocked(const DescriptorChain& chain, uint32_t& offset, Budget& budget) {
  std::array<uint32_t, kNumbersAtOnce> numbers;
  while (!budget.spent()) {
    const size_t most = std::min<size_t>(numbers.size(), budget.pieces);
    const auto bytes = MutableBytesOf(numbers).first(most * sizeof(uint32_t));
    const size_t count = chain.CopyFrom(*memory_, offset, bytes) / sizeof(uint32_t);
    if (count == 0) return true;  // The end, or part of a number.
    offset += static_cast<uint32_t>(count * sizeof(uint32_t));
    // Sorted, so that neighbours become one piece whatever order the driver got them in.
    std::sort(numbers.begin(), numbers.begin() + static_cast<ptrdiff_t>(count));
    for (size_t i = 0; i < count;) {
      size_t end = i + 1;
      while (end < count && numbers[end] - numbers[end - 1] <= 1) ++end;
      const uint64_t pages = uint64_t{numbers[end - 1]} - numbers[i] + 1;
      DiscardLocked(GuestAddress{uint64_t{numbers[i]} << balloon::kPageShift}, pages * kPageSize,
                    metrics_.inflated, budget);
      i = end;
    }
  }
  return false;
}

bool BalloonDevice::DeflateLocked(const DescriptorChain& chain, uint32_t& /*offset*/,
                                  Budget& /*budget*/) {
  // Nothing to do: the pages are the guest's again with its first touch of them.
  metrics_.deflated.Add(chain.readable_size() / sizeof(uint32_t) * kPageSize);
  return true;
}

bool BalloonDevice::ReportLocked(const DescriptorChain& chain, uint32_t& offset, Budget& budget) {
  uint32_t start = 0;  // Of the buffer, counted in bytes of the chain; never beyond `offset`.
  for (const GuestBuffer& buffer : chain.writable()) {
    const uint32_t skipped = std::min(offset - start, buffer.length);
    start += buffer.length;
    if (skipped == buffer.length) continue;
    if (budget.spent()) return false;
    const uint64_t length = std::min<uint64_t>(buffer.length - skipped, budget.bytes);
    DiscardLocked(buffer.address + skipped, length, metrics_.reported, budget);
    offset += static_cast<uint32_t>(length);
    if (offset < start) return false;
  }
  return true;
}

void BalloonDevice::DiscardLocked(GuestAddress address, uint64_t length, Counter& counter,
                                  Budget& budget) {
  budget.bytes -= std::min(budget.bytes, length);
  --budget.pieces;
  if (const auto discarded = memory_->Discard(address, length); !discarded) {
    metrics_.refused.Add();
    log_.Warn("{}", discarded.error().message());
    return;
  }
  counter.Add(length);
}

void BalloonDevice::ReadStatsLocked() {
  if (stats_read_) return;
  Virtqueue& queue = queues_[kStats];
  std::optional<DescriptorChain> chain = queue.Pop();
  if (!chain) return;
  stats_read_ = true;
  std::array<balloon::Stat, kMaxStats> stats;
  const size_t bytes = chain->CopyFrom(*memory_, 0, MutableBytesOf(stats));
  // The driver's until AskForStats() returns it; in its queue, so that a snapshot finds it there.
  queue.UndoPop(*std::move(chain));
  for (size_t i = 0; i < bytes / sizeof(balloon::Stat); ++i) {
    RecordStat(stats[i].tag, stats[i].value);
  }
  metrics_.stats.Add();
}

void BalloonDevice::RecordStat(uint16_t tag, uint64_t value) {
  switch (tag) {
    case balloon::kStatSwapIn:
      return metrics_.guest_swap_in.Set(value);
    case balloon::kStatSwapOut:
      return metrics_.guest_swap_out.Set(value);
    case balloon::kStatMajorFaults:
      return metrics_.guest_major_faults.Set(value);
    case balloon::kStatMinorFaults:
      return metrics_.guest_minor_faults.Set(value);
    case balloon::kStatFreeMemory:
      return metrics_.guest_free.Set(value);
    case balloon::kStatTotalMemory:
      return metrics_.guest_total.Set(value);
    case balloon::kStatAvailableMemory:
      return metrics_.guest_available.Set(value);
    case balloon::kStatDiskCaches:
      return metrics_.guest_caches.Set(value);
    default:
      return;
  }
}

void BalloonDevice::AskForStats() {
  MutexLock lock(mutex_);
  stats_timer_ = 0;
  if (queues_.empty()) return;
  Virtqueue& queue = queues_[kStats];
  if (paused_) {
    queue.ProcessLater();  // That ends the pause; the driver is asked an interval later.
  } else if (std::optional<DescriptorChain> chain = queue.Pop()) {
    queue.Complete(*std::move(chain), 0);
    queue.Notify();
    stats_read_ = false;
    // Has the driver asked to kick when the buffer is there again.
    ReadStatsLocked();
  }
  ScheduleStatsLocked();
}

void BalloonDevice::ScheduleStatsLocked() {
  stats_timer_ = loop_->After(stats_interval_, [this] { AskForStats(); });
}

}  // namespace mayfly
