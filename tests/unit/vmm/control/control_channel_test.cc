#include "vmm/control/control_channel.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/bytes.h"
#include "base/file.h"

namespace mayfly {
namespace {

using control::FrameType;
using std::chrono::milliseconds;

// The vsock device's part: it accepts the guest's connection and moves bytes both ways.
class ControlChannelTest : public testing::Test {
 protected:
  void SetUp() override {
    stream_ = channel_.Accept(control::kPort).value();
    stream_->SetReady([this] { ++ready_calls_; });
  }

  Result<size_t> FromGuest(std::span<const uint8_t> bytes) {
    const iovec piece{const_cast<uint8_t*>(bytes.data()), bytes.size()};
    return stream_->Write({&piece, 1});
  }

  Result<size_t> FromGuest(FrameType type, uint64_t invocation, std::string_view payload) {
    return FromGuest(control::Encode(type, invocation, AsBytes(payload)));
  }

  std::vector<uint8_t> ToGuest(size_t most) {
    std::vector<uint8_t> bytes(most);
    const iovec piece{bytes.data(), bytes.size()};
    const auto count = stream_->Read({&piece, 1});
    EXPECT_TRUE(count);
    bytes.resize(*count == VsockStream::kWouldBlock ? 0 : *count);
    return bytes;
  }

  static ControlChannel::Clock::time_point Soon() {
    return ControlChannel::Clock::now() + milliseconds(20);
  }
  static ControlChannel::Clock::time_point Later() {
    return ControlChannel::Clock::now() + std::chrono::seconds(60);
  }

  ControlChannel channel_;
  std::unique_ptr<VsockStream> stream_;
  int ready_calls_ = 0;
};

TEST_F(ControlChannelTest, FrameFromTheGuestArrives) {
  ASSERT_TRUE(FromGuest(FrameType::kHello, 7, "hi"));
  const auto frame = channel_.Receive(Later());
  ASSERT_TRUE(frame);
  EXPECT_EQ(frame->type, FrameType::kHello);
  EXPECT_EQ(frame->invocation, 7);
  EXPECT_EQ(AsText(frame->payload), "hi");
}

TEST_F(ControlChannelTest, FrameInSinglePiecesArrivesWhole) {
  for (const uint8_t byte : control::Encode(FrameType::kHello, 7, AsBytes("hi"))) {
    ASSERT_TRUE(FromGuest({&byte, 1}));
  }
  EXPECT_EQ(AsText(channel_.Receive(Later())->payload), "hi");
}

TEST_F(ControlChannelTest, NothingFromTheGuestIsATimeout) {
  EXPECT_EQ(channel_.Receive(Soon()).error().code(), ErrorCode::kTimeout);
}

TEST_F(ControlChannelTest, SentFrameIsAnnouncedAndReadInPieces) {
  ASSERT_TRUE(channel_.Send(FrameType::kLoad, 0, AsBytes("description")));
  EXPECT_EQ(ready_calls_, 1);
  std::vector<uint8_t> bytes = ToGuest(10);
  const std::vector<uint8_t> rest = ToGuest(100);
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  EXPECT_EQ(bytes, control::Encode(FrameType::kLoad, 0, AsBytes("description")));
  EXPECT_TRUE(ToGuest(100).empty());
}

TEST_F(ControlChannelTest, UnknownFrameTypeClosesTheChannel) {
  const control::FrameHeader header{0, 99, 0, 0};
  EXPECT_FALSE(FromGuest(BytesOf(header)));
  const auto frame = channel_.Receive(Later());
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code(), ErrorCode::kGuest);
}

TEST_F(ControlChannelTest, FrameAboveTheLimitClosesTheChannel) {
  const control::FrameHeader header{control::kMaxPayload + 1, 5, 0, 0};
  EXPECT_FALSE(FromGuest(BytesOf(header)));
  EXPECT_EQ(channel_.Receive(Later()).error().code(), ErrorCode::kGuest);
}

TEST_F(ControlChannelTest, GuestThatSendsWithoutEndIsHeldBack) {
  const std::vector<uint8_t> payload(control::kMaxPayload);
  const auto frame = control::Encode(FrameType::kLog, 0, payload);
  size_t taken = 0;
  for (int i = 0; i < 100; ++i) taken += *FromGuest(frame) != VsockStream::kWouldBlock ? 1 : 0;
  EXPECT_LE(taken * frame.size(), ControlChannel::kMaxReceived + frame.size());
  // Taking one frame makes room, and says so.
  ready_calls_ = 0;
  ASSERT_TRUE(channel_.Receive(Later()));
  EXPECT_EQ(ready_calls_, 1);
  EXPECT_NE(*FromGuest(frame), VsockStream::kWouldBlock);
}

TEST_F(ControlChannelTest, SecondConnectionIsRefused) {
  EXPECT_FALSE(channel_.Accept(control::kPort));
}

TEST_F(ControlChannelTest, CloseWakesAReceiverWithItsReason) {
  std::thread closer([this] { channel_.Close("the machine ended"); });
  const auto frame = channel_.Receive(Later());
  closer.join();
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().message(), "the machine ended");
}

TEST_F(ControlChannelTest, FramesBeforeTheCloseAreStillDelivered) {
  ASSERT_TRUE(FromGuest(FrameType::kError, 1, "why"));
  channel_.Close("the machine ended");
  EXPECT_TRUE(channel_.Receive(Later()));
  EXPECT_FALSE(channel_.Receive(Later()));
}

TEST_F(ControlChannelTest, SendAfterTheGuestClosedFails) {
  stream_->ShutdownWrite();
  EXPECT_EQ(channel_.Send(FrameType::kShutdown, 0, {}).error().code(), ErrorCode::kGuest);
}

TEST_F(ControlChannelTest, DroppedConnectionClosesTheChannel) {
  stream_.reset();
  EXPECT_EQ(channel_.Receive(Later()).error().code(), ErrorCode::kGuest);
}

}  // namespace
}  // namespace mayfly
