#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "devices/virtio/rng/rng_backend.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// A virtio entropy device (virtio 1.2, section 5.4): one queue, whose buffers it fills with random
// bytes. Owned by its transport, which serialises every call. It has no state besides its queue.
class RngDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 4;
  static constexpr uint16_t kQueueSize = 64;
  // The most that one request gets; the rest of its buffer stays as it is (5.4.6.2 allows that). A
  // chain can be 4 GiB long, for which the generator takes some ten seconds of a host CPU.
  static constexpr uint32_t kMaxRequestBytes = 64 * 1024;
  // After this much a turn ends, so that a queue of such requests does not hold up others.
  static constexpr uint64_t kMaxTurnBytes = 4ULL * kMaxRequestBytes;

  struct Resources {
    std::string name;                       // For the log: "rng".
    std::unique_ptr<EntropySource> source;  // HostEntropy.
    LogSink* log = nullptr;                 // Borrowed; may be null.
  };

  static std::unique_ptr<RngDevice> Create(Resources resources);
  RngDevice(const RngDevice&) = delete;
  RngDevice& operator=(const RngDevice&) = delete;

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override { return 0; }
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override;
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override;
  void Activate(std::vector<Virtqueue> queues, uint64_t driver_features) override;
  void ProcessQueue(uint16_t index) override;
  void Reset() override;
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override;

 private:
  static constexpr std::array<uint16_t, 1> kQueueSizes{kQueueSize};

  explicit RngDevice(Resources resources)
      : source_(std::move(resources.source)), log_(resources.log, resources.name) {}

  // Returns how many bytes it gave.
  uint32_t Serve(DescriptorChain chain);

  const std::unique_ptr<EntropySource> source_;
  GuestLog log_;
  std::optional<Virtqueue> queue_;
};

}  // namespace mayfly
