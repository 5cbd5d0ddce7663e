#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_virtio_device.h"
#include "tests/fakes/loop.h"

namespace mayfly {

// A transport with a FakeVirtioDevice, and everything that it borrows.
class MmioTransportFixture : public ::testing::Test {
 protected:
  static constexpr uint64_t kMemorySize = 4ULL << 20;
  static constexpr uint32_t kNegotiated = 11;  // Status after FEATURES_OK.
  static constexpr uint32_t kLive = 15;        // And after DRIVER_OK.
  using Bytes = std::vector<uint8_t>;

  MmioTransportFixture() { Build(KickMode::kInline); }

  void Build(KickMode mode) {
    transport_.reset();
    transport_ = *Make(mode, MmioState{});
  }
  Result<std::unique_ptr<MmioTransport>> Make(KickMode mode, const MmioState& state) {
    auto device = std::make_unique<FakeVirtioDevice>();
    device_ = device.get();
    return MmioTransport::Create({.name = "fake0",
                                  .device = std::move(device),
                                  .memory = memory_.get(),
                                  .interrupt = &line_,
                                  .loop = loop_.get(),
                                  .kick_mode = mode},
                                 state);
  }
  FakeDriver MakeDriver() { return FakeDriver(memory_.get(), transport_.get()); }
  // The message with which a state is refused, or "" if it is not.
  std::string Refusal(const MmioState& state) {
    const auto result = Make(KickMode::kInline, state);
    return result ? "" : result.error().message();
  }
  // The state of a live device with one request done.
  MmioState LiveState() {
    FakeDriver driver = MakeDriver();
    driver.Start();
    driver.Chain().Writable(1).Submit();
    device_->queues[0].Complete(*device_->queues[0].Pop(), 1);
    device_->queues[0].Notify();
    return transport_->Save();
  }
  // What KVM does for an ioeventfd.
  void Notify(uint64_t count) const {
    EXPECT_EQ(::write(transport_->notify_fd(), &count, sizeof(count)), sizeof(count));
  }
  Bytes Read(uint64_t offset, size_t size) {
    Bytes bytes(size, 0xee);
    transport_->Read(offset, bytes);
    return bytes;
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(kMemorySize);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  std::unique_ptr<MmioTransport> transport_;
  FakeVirtioDevice* device_ = nullptr;
};

}  // namespace mayfly
