#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "base/bytes.h"
#include "devices/virtio/config_space.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

// Remembers what its transport tells it. Two queues, two feature bits, eight bytes of configuration
// that can be written.
class FakeVirtioDevice final : public VirtioDevice {
 public:
  static constexpr uint32_t kType = 42;
  static constexpr uint64_t kFeatures = 0b101;

  [[nodiscard]] uint32_t type() const override { return kType; }
  [[nodiscard]] uint64_t features() const override { return kFeatures; }
  [[nodiscard]] std::span<const uint16_t> queue_sizes() const override { return kQueueSizes; }
  void ReadConfig(uint64_t offset, std::span<uint8_t> out) override {
    CopyConfig(BytesOf(config), offset, out);
  }
  void WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) override {
    config_writes.emplace_back(offset, std::vector<uint8_t>(bytes.begin(), bytes.end()));
  }
  void Activate(std::vector<Virtqueue> new_queues, uint64_t features) override {
    queues = std::move(new_queues);
    driver_features = features;
    ++activations;
  }
  void ProcessQueue(uint16_t index) override {
    processed.push_back(index);
    if (on_process) on_process(index);
  }
  void Reset() override {
    queues.clear();
    ++resets;
  }
  [[nodiscard]] std::vector<VirtqueueState> SaveQueues() const override {
    std::vector<VirtqueueState> states;
    states.reserve(queues.size());
    for (const Virtqueue& queue : queues) states.push_back(queue.Save());
    return states;
  }

  uint64_t config = 0x8877'6655'4433'2211;
  std::function<void(uint16_t)> on_process;
  std::vector<Virtqueue> queues;
  uint64_t driver_features = 0;
  int activations = 0;
  int resets = 0;
  std::vector<uint16_t> processed;
  std::vector<std::pair<uint64_t, std::vector<uint8_t>>> config_writes;

 private:
  static constexpr std::array<uint16_t, 2> kQueueSizes{16, 8};
};

}  // namespace mayfly
