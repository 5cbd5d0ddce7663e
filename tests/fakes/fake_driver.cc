#include "tests/fakes/fake_driver.h"

#include <algorithm>
#include <array>

#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {

void FakeDriver::Start(uint64_t wanted_features, uint16_t queue_size) {
  Acknowledge();
  Negotiate(wanted_features);
  SetUpQueues(queue_size);
  DriverOk();
}

void FakeDriver::Acknowledge() {
  Reset();
  WriteRegister(mmio::kStatus, status() | mmio::kStatusAcknowledge);
  WriteRegister(mmio::kStatus, status() | mmio::kStatusDriver);
}

void FakeDriver::Negotiate(uint64_t wanted_features) {
  const uint64_t features = offered_features() & (wanted_features | kFeatureVersion1);
  WriteRegister(mmio::kDriverFeaturesSel, 0);
  WriteRegister(mmio::kDriverFeatures, static_cast<uint32_t>(features));
  WriteRegister(mmio::kDriverFeaturesSel, 1);
  WriteRegister(mmio::kDriverFeatures, static_cast<uint32_t>(features >> 32));
  WriteRegister(mmio::kStatus, status() | mmio::kStatusFeaturesOk);
}

void FakeDriver::SetUpQueues(uint16_t queue_size) {
  queues_.clear();
  for (uint32_t index = 0;; ++index) {
    WriteRegister(mmio::kQueueSel, index);
    const uint32_t most = ReadRegister(mmio::kQueueSizeMax);
    if (most == 0) return;
    const auto size = static_cast<uint16_t>(std::min<uint32_t>(queue_size, most));
    queues_.emplace_back(memory_, GuestAddress{kQueueBase + index * FakeQueue::kBytes}, size);
    SetUpQueue(index, queues_.back().state());
  }
}

void FakeDriver::SetUpQueue(uint32_t index, const VirtqueueState& state) {
  WriteRegister(mmio::kQueueSel, index);
  WriteRegister(mmio::kQueueSize, state.size);
  WriteRegister(mmio::kQueueDescLow, static_cast<uint32_t>(state.descriptor_table));
  WriteRegister(mmio::kQueueDescHigh, static_cast<uint32_t>(state.descriptor_table >> 32));
  WriteRegister(mmio::kQueueDriverLow, static_cast<uint32_t>(state.avail_ring));
  WriteRegister(mmio::kQueueDriverHigh, static_cast<uint32_t>(state.avail_ring >> 32));
  WriteRegister(mmio::kQueueDeviceLow, static_cast<uint32_t>(state.used_ring));
  WriteRegister(mmio::kQueueDeviceHigh, static_cast<uint32_t>(state.used_ring >> 32));
  WriteRegister(mmio::kQueueReady, 1);
}

void FakeDriver::DriverOk() { WriteRegister(mmio::kStatus, status() | mmio::kStatusDriverOk); }

void FakeDriver::Reset() { WriteRegister(mmio::kStatus, 0); }

void FakeDriver::Kick(uint32_t index) { WriteRegister(mmio::kQueueNotify, index); }

uint32_t FakeDriver::TakeInterrupt() {
  const uint32_t interrupt = ReadRegister(mmio::kInterruptStatus);
  WriteRegister(mmio::kInterruptAck, interrupt);
  return interrupt;
}

uint32_t FakeDriver::ReadRegister(uint64_t offset) const {
  std::array<uint8_t, 4> bytes{};
  transport_->Read(offset, bytes);
  return LoadLe<uint32_t>(bytes);
}

void FakeDriver::WriteRegister(uint64_t offset, uint32_t value) {
  transport_->Write(offset, BytesOf(value));
}

uint32_t FakeDriver::status() const { return ReadRegister(mmio::kStatus); }

uint64_t FakeDriver::offered_features() {
  WriteRegister(mmio::kDeviceFeaturesSel, 0);
  const uint64_t low = ReadRegister(mmio::kDeviceFeatures);
  WriteRegister(mmio::kDeviceFeaturesSel, 1);
  return low | uint64_t{ReadRegister(mmio::kDeviceFeatures)} << 32;
}

std::vector<uint8_t> FakeDriver::ReadConfig(uint64_t offset, size_t size) const {
  std::vector<uint8_t> bytes(size);
  transport_->Read(mmio::kConfig + offset, bytes);
  return bytes;
}

void FakeDriver::WriteConfig(uint64_t offset, std::span<const uint8_t> bytes) {
  transport_->Write(mmio::kConfig + offset, bytes);
}

}  // namespace mayfly
