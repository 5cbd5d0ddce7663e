#include "devices/virtio/rng/rng.h"

#include <algorithm>

#include "base/check.h"

namespace mayfly {

std::unique_ptr<RngDevice> RngDevice::Create(Resources resources) {
  CHECK(resources.source != nullptr);
  return std::unique_ptr<RngDevice>(new RngDevice(std::move(resources)));
}

// No configuration space (5.4.4).
void RngDevice::ReadConfig(uint64_t, std::span<uint8_t>) {}
void RngDevice::WriteConfig(uint64_t, std::span<const uint8_t>) {}

void RngDevice::Activate(std::vector<Virtqueue> queues, uint64_t) {
  queue_ = std::move(queues.front());
}

void RngDevice::Reset() { queue_.reset(); }

std::vector<VirtqueueState> RngDevice::SaveQueues() const {
  CHECK(queue_.has_value());
  return {queue_->Save()};
}

void RngDevice::ProcessQueue(uint16_t) {
  // Bounded, because another vCPU can refill the queue as fast as it is emptied.
  uint64_t bytes = 0;
  for (uint16_t i = 0; i < kQueueSize && bytes < kMaxTurnBytes; ++i) {
    auto chain = queue_->Pop();
    if (!chain) {
      queue_->Notify();
      return;
    }
    bytes += Serve(*std::move(chain));
  }
  queue_->Notify();
  queue_->ProcessLater();
}

uint32_t RngDevice::Serve(DescriptorChain chain) {
  std::array<uint8_t, 4096> random;
  const uint32_t wanted = std::min(chain.writable_size(), kMaxRequestBytes);
  uint32_t done = 0;
  while (done < wanted) {
    const auto part = std::span(random).first(std::min<size_t>(wanted - done, random.size()));
    if (const auto filled = source_->Fill(part); !filled) {
      // Every buffer must get at least one byte (5.4.6.2), and there is none.
      log_.Warn("{}", filled.error().message());
      queue_->Break();
      return done;
    }
    done += static_cast<uint32_t>(chain.CopyTo(queue_->memory(), done, part));
  }
  queue_->Complete(std::move(chain), wanted);
  return wanted;
}

}  // namespace mayfly
