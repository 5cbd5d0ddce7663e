#include <fmt/format.h>
#include <gtest/gtest.h>

#include "devices/bus.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/rng/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fakes/fake_blk_backend.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/loop.h"
#include "tests/fakes/random_driver.h"
#include "tests/support/memory_use.h"

namespace mayfly {
namespace {

constexpr uint64_t kMegabyte = 1ULL << 20;
// MAYFLY_HOSTILE_OPERATIONS in the environment makes it longer.
constexpr uint64_t kOperations = 100'000;
constexpr uint64_t kMostGrowth = 8 * kMegabyte;

// What the devices talk to keeps nothing, so that what grows is the devices'.
class NoEntropy final : public EntropySource {
 public:
  Result<void> Fill(std::span<uint8_t>) override { return {}; }
};

class NoNetwork final : public NetBackend {
 public:
  void SetReady(std::function<void()>) override {}
  Result<size_t> Read(std::span<const iovec>) override { return size_t{0}; }
  Result<void> Write(std::span<const iovec>) override { return {}; }
  Result<void> SetOffloads(const NetOffloads&) override { return {}; }
  Result<void> SetCarrier(bool) override { return {}; }
};

class SilentStream final : public VsockStream {
 public:
  Result<size_t> Read(std::span<const iovec>) override { return kWouldBlock; }
  Result<size_t> Write(std::span<const iovec>) override { return kWouldBlock; }
  void ShutdownWrite() override {}
  void ShutdownRead() override {}
  void SetInterest(bool, bool) override {}
  void SetReady(std::function<void()>) override {}
};

class SilentService final : public VsockService {
 public:
  Result<std::unique_ptr<VsockStream>> Accept(uint32_t) override {
    return std::make_unique<SilentStream>();
  }
};

class HostileSoakTest : public testing::Test {
 protected:
  static constexpr uint64_t kFirst = 0xd0000000;

  HostileSoakTest() {
    // Touched before the first measurement: guest memory is not the host's growth.
    EXPECT_TRUE(memory_->Fill(GuestAddress{0}, 0, memory_->size()));
    Add(*BlkDevice::Create({.name = "blk",
                            .backend = std::make_unique<FakeBlkBackend>(kMegabyte),
                            .loop = loop_.get()}));
    Add(RngDevice::Create({.name = "rng", .source = std::make_unique<NoEntropy>()}));
    NetDevice::Resources net;
    net.name = "net";
    net.backend = std::make_unique<NoNetwork>();
    net.loop = loop_.get();
    Add(*NetDevice::Create(std::move(net), NetState{.mac = {2, 0, 0, 0, 0, 1}}));
    Add(*VsockDevice::Create(
        {.name = "vsock", .loop = loop_.get(), .services = {}, .host = &service_}, VsockState{}));
  }
  void Add(std::unique_ptr<VirtioDevice> device) {
    const uint64_t start = kFirst + transports_.size() * MmioTransport::kSize;
    transports_.push_back(*MmioTransport::Create({.name = "device",
                                                  .device = std::move(device),
                                                  .memory = memory_.get(),
                                                  .interrupt = &line_,
                                                  .loop = loop_.get(),
                                                  .kick_mode = KickMode::kInline}));
    EXPECT_TRUE(bus_.Insert(start, MmioTransport::kSize, transports_.back().get()));
  }
  void Run(RandomDriver& driver, uint64_t operations) {
    for (uint64_t i = 0; i < operations; ++i) {
      driver.Step();
      if (i % 64 == 0) RunReady(loop_.get());
    }
  }
  // The device has been broken, an honest driver starts it anew, and gets an answer to a request.
  bool BrokeAndWorks(MmioTransport& transport, size_t queue) {
    FakeDriver driver(memory_.get(), &transport);
    driver.Start();
    driver.Chain(queue).Readable({0}).Submit();
    driver.Kick(static_cast<uint32_t>(queue));
    RunReady(loop_.get());
    return transport.metrics().broken.value() > 0 && driver.status() == 15 &&
           driver.PopUsed(queue).has_value();
  }
  uint64_t Resident() const { return ResidentBytesWithout(memory_->regions().front().host); }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(16 * kMegabyte);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  SilentService service_;
  std::vector<std::unique_ptr<MmioTransport>> transports_;
  Bus bus_;
};

TEST_F(HostileSoakTest, HostMemoryDoesNotGrowAndDevicesWorkAfterwards) {
  RandomDriver driver(memory_.get(), &bus_, {kFirst, MmioTransport::kSize, 4}, 1);
  Run(driver, kOperations / 10);
  const uint64_t before = Resident();
  const uint64_t operations = CountFromEnvironment("MAYFLY_HOSTILE_OPERATIONS", kOperations);

  Run(driver, operations);

  const uint64_t after = Resident();
  fmt::print("{} hostile operations: {} KiB before, {} KiB after\n", operations, before / 1024,
             after / 1024);
  EXPECT_TRUE(!kMemoryUseIsExact || after < before + kMostGrowth);
  EXPECT_TRUE(BrokeAndWorks(*transports_[0], 0));
  EXPECT_TRUE(BrokeAndWorks(*transports_[1], 0));
  EXPECT_TRUE(BrokeAndWorks(*transports_[2], 1));
  EXPECT_TRUE(BrokeAndWorks(*transports_[3], 1));
}

}  // namespace
}  // namespace mayfly
