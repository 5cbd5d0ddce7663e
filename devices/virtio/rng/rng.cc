#include "devices/virtio/rng/rng.h"

#include <algorithm>

#include "base/check.h"

namespace mayfly {

std::unique_ptr<RngDevice> RngDevice::Create(Resources resources) {
  CHECK(resources.source != nullptr);
  return std::unique_ptr<RngDevice>(new RngDevice(std::move(resources)));
}

RngDevice::~RngDevice() {
  MutexLock lock(mutex_);
  if (timer_ != 0) loop_->Cancel(timer_);
}

// No configuration space (5.4.4).
void RngDevice::ReadConfig(uint64_t, std::span<uint8_t>) {}
void RngDevice::WriteConfig(uint64_t, std::span<const uint8_t>) {}

void RngDevice::Activate(std::vector<Virtqueue> queues, uint64_t) {
  MutexLock lock(mutex_);
  queue_ = std::move(queues.front());
}

void RngDevice::Reset() {
  MutexLock lock(mutex_);
  if (timer_ != 0) loop_->Cancel(timer_);
  timer_ = 0;
  queue_.reset();
}

std::vector<VirtqueueState> RngDevice::SaveQueues() const {
  MutexLock lock(mutex_);
  CHECK(queue_.has_value());
  return {queue_->Save()};
}

void RngDevice::ProcessQueue(uint16_t) {
  MutexLock lock(mutex_);
  if (timer_ != 0) return;
  // Bounded, because another vCPU can refill the queue as fast as it is emptied.
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < kQueueSize && bytes < kMaxTurnBytes; ++i) {
    auto chain = queue_->Pop();
    if (!chain) {
      queue_->Notify();
      return;
    }
    const uint32_t wanted = std::min(chain->writable_size(), kMaxRequestBytes);
    if (const auto delay = limiter_.Take(wanted); delay > delay.zero()) {
      queue_->UndoPop(*std::move(chain));
      queue_->Notify();
      WaitLocked(delay);
      return;
    }
    ServeLocked(*std::move(chain), wanted);
    bytes += wanted;
  }
  queue_->Notify();
  queue_->ProcessLater();
}

void RngDevice::ServeLocked(DescriptorChain chain, uint32_t wanted) {
  std::array<uint8_t, 4096> random;
  uint32_t done = 0;
  while (done < wanted) {
    const auto part = std::span(random).first(std::min<size_t>(wanted - done, random.size()));
    if (const auto filled = source_->Fill(part); !filled) {
      // Every buffer must get at least one byte (5.4.6.2), and there is none.
      log_.Warn("{}", filled.error().message());
      queue_->Break();
      return;
    }
    done += static_cast<uint32_t>(chain.CopyTo(queue_->memory(), done, part));
  }
  queue_->Complete(std::move(chain), wanted);
  metrics_.requests.Add();
  metrics_.bytes.Add(wanted);
}

void RngDevice::WaitLocked(RateLimiter::Clock::duration delay) {
  metrics_.throttled.Add();
  timer_ = loop_->After(delay, [this] { WaitIsOver(); });
}

void RngDevice::WaitIsOver() {
  MutexLock lock(mutex_);
  timer_ = 0;
  if (queue_) queue_->ProcessLater();
}

}  // namespace mayfly
