#include "devices/virtio/rng/rng.h"

#include <gtest/gtest.h>

#include <thread>

#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/loop.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint64_t kRawBuffer = 8ULL << 20;

// Gives 0x5a, and counts how much.
class FakeEntropy final : public EntropySource {
 public:
  Result<void> Fill(std::span<uint8_t> out) override {
    if (fail) return Fail(ErrorCode::kHost, "entropy: injected");
    std::ranges::fill(out, uint8_t{0x5a});
    given += out.size();
    return {};
  }

  bool fail = false;
  uint64_t given = 0;
};

class RngTest : public ::testing::Test {
 protected:
  RngTest() {
    auto source = std::make_unique<FakeEntropy>();
    source_ = source.get();
    transport_ = *Make(
        RngDevice::Create({.name = "rng", .source = std::move(source), .loop = loop_.get()}), {});
    driver_ = FakeDriver(memory_.get(), transport_.get());
    driver_.Start();
  }
  Result<std::unique_ptr<MmioTransport>> Make(std::unique_ptr<RngDevice> device,
                                              const MmioState& state) {
    return MmioTransport::Create({.name = "rng",
                                  .device = std::move(device),
                                  .memory = memory_.get(),
                                  .interrupt = &line_,
                                  .loop = loop_.get()},
                                 state);
  }
  bool NeedsReset() { return (driver_.status() & mmio::kStatusNeedsReset) != 0; }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(16ULL << 20);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  FakeEntropy* source_ = nullptr;
  std::unique_ptr<MmioTransport> transport_;
  FakeDriver driver_{memory_.get(), nullptr};
};

// Registers and configuration.

TEST_F(RngTest, IsAnEntropyDeviceWithoutConfiguration) {
  EXPECT_EQ(driver_.ReadRegister(mmio::kDeviceId), 4);
  EXPECT_EQ(driver_.ReadConfig(0, 8), Bytes(8, 0));
  driver_.WriteConfig(0, Bytes(8, 1));
  EXPECT_EQ(driver_.ReadConfig(0, 8), Bytes(8, 0));
}

// Happy path.

TEST_F(RngTest, FillsTheBuffer) {
  const uint16_t head = driver_.Chain().Writable(10).Writable(6).Submit();

  driver_.Kick();

  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{head, 16}));
  EXPECT_EQ(driver_.Written(head), Bytes(16, 0x5a));
  EXPECT_EQ(driver_.TakeInterrupt(), mmio::kInterruptUsedBuffer);
}

TEST_F(RngTest, FillsABufferOfManyPages) {
  const uint16_t head = driver_.Chain().Writable(10'000).Submit();

  driver_.Kick();

  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{head, 10'000}));
  EXPECT_EQ(driver_.Written(head), Bytes(10'000, 0x5a));
}

TEST_F(RngTest, AnswersSeveralRequestsWithOneInterrupt) {
  driver_.Chain().Writable(8).Submit();
  driver_.Chain().Writable(8).Submit();

  driver_.Kick();

  EXPECT_TRUE(driver_.PopUsed());
  EXPECT_TRUE(driver_.PopUsed());
  EXPECT_EQ(line_.raised, 1);
}

// Malformed and greedy requests.

TEST_F(RngTest, GreedyRequestGetsTheCapAndNoMore) {
  const uint16_t head = driver_.Chain().WritableAt(kRawBuffer, 4 << 20).Submit();

  driver_.Kick();

  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{head, 64 * 1024}));
  EXPECT_EQ(source_->given, 64 * 1024);
}

TEST_F(RngTest, TurnEndsAfterFourGreedyRequests) {
  const auto greedy = [this] { driver_.Chain().WritableAt(kRawBuffer, 1 << 20).Submit(); };
  greedy();
  greedy();
  greedy();
  greedy();
  greedy();

  driver_.Kick();
  EXPECT_EQ(driver_.queue().used_index(), 4);
  RunReady(loop_.get());

  EXPECT_EQ(driver_.queue().used_index(), 5);
}

TEST_F(RngTest, RequestWithoutRoomIsReturnedEmpty) {
  const uint16_t read_only = driver_.Chain().Readable({1, 2, 3}).Submit();
  const uint16_t empty = driver_.Chain().Writable(0).Submit();

  driver_.Kick();

  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{read_only, 0}));
  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{empty, 0}));
  EXPECT_EQ(source_->given, 0);
}

TEST_F(RngTest, BufferOutsideMemoryBreaksTheQueue) {
  driver_.Chain().WritableAt(1ULL << 40, 8).Submit();

  driver_.Kick();

  EXPECT_TRUE(NeedsReset());
  EXPECT_EQ(source_->given, 0);
}

TEST_F(RngTest, GuestThatReadsWithoutEndGetsItsRate) {
  RateLimits limits;
  limits.bytes = {.per_second = 640 << 10, .burst = 32 << 10, .one_time_burst = 0};
  transport_ = *Make(RngDevice::Create({.name = "rng",
                                        .source = std::make_unique<FakeEntropy>(),
                                        .loop = loop_.get(),
                                        .limits = limits}),
                     {});
  driver_.Reattach(transport_.get());
  driver_.Start();
  for (int i = 0; i < 3; ++i) driver_.Chain().WritableAt(kRawBuffer, 64 * 1024).Submit();

  driver_.Kick();
  for (int i = 0; i < 10; ++i) driver_.Kick();
  EXPECT_EQ(driver_.queue().used_index(), 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  RunReady(loop_.get());
  RunReady(loop_.get());

  EXPECT_EQ(driver_.queue().used_index(), 2);
}

// Backend failure.

TEST_F(RngTest, HostWithoutEntropyBreaksTheQueue) {
  source_->fail = true;
  driver_.Chain().Writable(8).Submit();

  driver_.Kick();

  EXPECT_TRUE(NeedsReset());
  EXPECT_FALSE(driver_.PopUsed());
}

TEST_F(RngTest, WorksAgainAfterAReset) {
  source_->fail = true;
  driver_.Chain().Writable(8).Submit();
  driver_.Kick();
  source_->fail = false;

  driver_.Start();
  driver_.Chain().Writable(8).Submit();
  driver_.Kick();

  EXPECT_TRUE(driver_.PopUsed());
}

// State: the queue's, which the transport keeps.

TEST_F(RngTest, RestoredDeviceServesTheNextRequest) {
  driver_.Chain().Writable(8).Submit();
  driver_.Kick();
  ASSERT_TRUE(driver_.PopUsed());
  const MmioState state = transport_->Save();
  transport_.reset();

  transport_ =
      *Make(RngDevice::Create(
                {.name = "rng", .source = std::make_unique<FakeEntropy>(), .loop = loop_.get()}),
            state);
  driver_.Reattach(transport_.get());
  const uint16_t head = driver_.Chain().Writable(8).Submit();
  driver_.Kick();

  EXPECT_EQ(transport_->Save().queues[0].next_used, 2);
  EXPECT_EQ(driver_.PopUsed(), (FakeUsed{head, 8}));
}

TEST(HostEntropyTest, FillsLargeBuffersWithBytesThatDiffer) {
  HostEntropy source;
  Bytes first(64 << 10);
  Bytes second(64 << 10);

  ASSERT_TRUE(source.Fill(first));
  ASSERT_TRUE(source.Fill(second));

  EXPECT_NE(first, second);
  EXPECT_NE(Bytes(first.end() - 32, first.end()), Bytes(32, 0));
}

}  // namespace
}  // namespace mayfly
