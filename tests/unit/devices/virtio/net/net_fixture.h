#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <numeric>
#include <vector>

#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/net/net.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_net_backend.h"
#include "tests/fakes/loop.h"

namespace mayfly {

// A network device behind its transport, with a driver that has started it with all features but
// the event index. Queue 0 receives, queue 1 transmits.
class NetFixture : public ::testing::Test {
 protected:
  using Bytes = std::vector<uint8_t>;
  static constexpr size_t kReceive = 0;
  static constexpr size_t kTransmit = 1;
  static constexpr MacAddress kMac{0x02, 0, 0, 0, 0, 0x01};
  static constexpr size_t kHeader = sizeof(net::Header);

  NetFixture() { Start(); }

  void Start(uint64_t features = UINT64_MAX, NetDevice::Resources resources = {},
             const NetState& state = {.mac = kMac}) {
    Attach(std::move(resources), state, MmioState{});
    driver_ = FakeDriver(memory_.get(), transport_.get());
    driver_.Start(features & ~kFeatureEventIndex);
    RunReady(loop_.get());
  }
  void Attach(NetDevice::Resources resources, const NetState& state, const MmioState& registers) {
    transport_.reset();
    auto backend = std::make_unique<FakeNetBackend>();
    backend_ = backend.get();
    resources.name = "net0";
    resources.backend = std::move(backend);
    resources.loop = loop_.get();
    auto device = NetDevice::Create(std::move(resources), state);
    device_ = device->get();
    transport_ = *MmioTransport::Create({.name = "net0",
                                         .device = *std::move(device),
                                         .memory = memory_.get(),
                                         .interrupt = &line_,
                                         .loop = loop_.get()},
                                        registers);
    device_->OnConfigChange([this] { transport_->ConfigChanged(); });
  }

  // A frame of the guest's own of so many bytes, which differ.
  static Bytes Frame(size_t size, const MacAddress& source = kMac) {
    Bytes frame(size);
    std::iota(frame.begin(), frame.end(), uint8_t{1});
    if (size >= 12) std::ranges::copy(source, frame.begin() + 6);
    return frame;
  }
  static Bytes Join(const net::Header& header, const Bytes& frame) {
    Bytes bytes(kHeader + frame.size());
    StoreLe(bytes, header);
    std::ranges::copy(frame, bytes.begin() + kHeader);
    return bytes;
  }
  // Has the driver send this; true if it got its buffer back.
  bool Send(FakeQueue::ChainBuilder chain) {
    const uint16_t head = chain.Submit();
    driver_.Kick(kTransmit);
    return driver_.PopUsed(kTransmit) == FakeUsed{head, 0};
  }
  bool Send(const net::Header& header, const Bytes& frame) {
    return Send(driver_.Chain(kTransmit).Readable(Join(header, frame)));
  }
  bool Send(const Bytes& frame) { return Send(net::Header{}, frame); }
  uint16_t Give(uint32_t length) { return driver_.Chain(kReceive).Writable(length).Submit(); }
  uint16_t GiveAndKick(uint32_t length) {
    const uint16_t head = Give(length);
    driver_.Kick(kReceive);
    return head;
  }
  // The next used receive buffer: its bytes, as many as its used length says.
  Bytes Received() {
    const auto used = driver_.PopUsed(kReceive);
    if (!used) return {};
    Bytes bytes = driver_.Written(used->head, kReceive);
    bytes.resize(used->length);
    return bytes;
  }
  // What the guest gets of a frame with no offload, in one buffer.
  static Bytes Plain(const Bytes& frame) { return Join({.num_buffers = 1}, frame); }
  bool NeedsReset() { return (driver_.status() & mmio::kStatusNeedsReset) != 0; }
  // Runs the loop for so long.
  void RunLoop(std::chrono::milliseconds time) {
    loop_->After(time, [this] { loop_->Stop(); });
    EXPECT_TRUE(loop_->Run());
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(32ULL << 20);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  FakeNetBackend* backend_ = nullptr;
  NetDevice* device_ = nullptr;
  std::unique_ptr<MmioTransport> transport_;
  FakeDriver driver_{memory_.get(), nullptr};
};

}  // namespace mayfly
