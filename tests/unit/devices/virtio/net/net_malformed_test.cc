#include <gtest/gtest.h>

#include "tests/unit/devices/virtio/net/net_fixture.h"

namespace mayfly {
namespace {

class NetMalformedTest : public NetFixture {
 protected:
  // Whether a frame of so many bytes, header and all, goes out; its buffer comes back in any case.
  bool PassesWithSize(uint32_t size) {
    EXPECT_TRUE(Send(driver_.Chain(kTransmit).ReadableAt(16 << 20, size)));
    return TakeSent();
  }
  bool Passes(const net::Header& header, const Bytes& frame = Frame(60)) {
    EXPECT_TRUE(Send(header, frame));
    return TakeSent();
  }
  bool TakeSent() {
    const bool sent = !backend_->sent.empty();
    backend_->sent.clear();
    return sent;
  }
};

// Case 34.

TEST_F(NetMalformedTest, FramesThatAreTooShortAreDropped) {
  EXPECT_FALSE(PassesWithSize(0));
  EXPECT_FALSE(PassesWithSize(1));
  EXPECT_FALSE(PassesWithSize(11));
  EXPECT_FALSE(PassesWithSize(12));
  EXPECT_FALSE(PassesWithSize(13));
  EXPECT_FALSE(PassesWithSize(25));
  EXPECT_TRUE(PassesWithSize(26));
  EXPECT_EQ(device_->metrics().tx_malformed.value(), 6);
}

TEST_F(NetMalformedTest, FramesThatAreTooLongAreDropped) {
  EXPECT_TRUE(PassesWithSize(65562));
  EXPECT_FALSE(PassesWithSize(65563));
  EXPECT_FALSE(PassesWithSize(1 << 20));
  EXPECT_EQ(device_->metrics().tx_malformed.value(), 2);
  EXPECT_EQ(backend_->writes, 1);
}

TEST_F(NetMalformedTest, FrameOf4GibibytesLessOneIsDropped) {
  auto chain = driver_.Chain(kTransmit);
  for (int i = 0; i < 255; ++i) chain.ReadableAt(0, 16 << 20);
  chain.ReadableAt(0, (16 << 20) - 1);

  EXPECT_TRUE(Send(std::move(chain)));

  EXPECT_EQ(backend_->writes, 0);
}

TEST_F(NetMalformedTest, FrameInAWritableBufferIsDropped) {
  EXPECT_TRUE(Send(driver_.Chain(kTransmit).Writable(100)));
  EXPECT_EQ(backend_->writes, 0);
}

TEST_F(NetMalformedTest, FrameOutsideOfMemoryBreaksTheDevice) {
  driver_.Chain(kTransmit).ReadableAt(32 << 20, 100).Submit();
  driver_.Kick(kTransmit);
  EXPECT_TRUE(NeedsReset());
  EXPECT_EQ(backend_->writes, 0);
}

// Case 35.

TEST_F(NetMalformedTest, LengthOfTheHeadersIsNotPassedOn) {
  EXPECT_TRUE(Send({.hdr_len = 0xffff}, Frame(60)));
  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join({}, Frame(60))}));
}

TEST_F(NetMalformedTest, UnknownFlagsAreIgnored) {
  EXPECT_TRUE(
      Send({.flags = 0xfe, .csum_start = 7, .csum_offset = 9, .num_buffers = 77}, Frame(60)));
  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join({}, Frame(60))}));
}

TEST_F(NetMalformedTest, SegmentationThatMakesNoSenseIsDropped) {
  const auto header = [](uint8_t flags, uint8_t type, uint16_t size) {
    return net::Header{.flags = flags, .gso_type = type, .gso_size = size, .csum_start = 34};
  };
  EXPECT_TRUE(Passes(header(net::kFlagNeedsCsum, net::kGsoTcp4, 1448)));
  EXPECT_FALSE(Passes(header(net::kFlagNeedsCsum, net::kGsoTcp4, 0)));
  EXPECT_FALSE(Passes(header(0, net::kGsoTcp4, 1448)));
  EXPECT_FALSE(Passes(header(net::kFlagNeedsCsum, 2, 1448)));
  EXPECT_FALSE(Passes(header(net::kFlagNeedsCsum, 3, 1448)));     // UDP
  EXPECT_FALSE(Passes(header(net::kFlagNeedsCsum, 0x81, 1448)));  // With ECN, which is not offered
  EXPECT_FALSE(Passes(header(net::kFlagNeedsCsum, 0xff, 1448)));
  EXPECT_EQ(device_->metrics().tx_malformed.value(), 6);
}

TEST_F(NetMalformedTest, OffloadsThatWereNotAgreedAreNotDone) {
  Start(net::kFeatureCsum | net::kFeatureHostTso4);
  EXPECT_FALSE(Passes({.flags = 1, .gso_type = net::kGsoTcp6, .gso_size = 1448}));
  Start(net::kFeatureHostTso4);
  EXPECT_FALSE(Passes({.flags = 1, .gso_type = net::kGsoTcp4, .gso_size = 1448}));
  Start(0);
  EXPECT_TRUE(Send({.flags = 1, .csum_start = 34, .csum_offset = 16}, Frame(60)));
  EXPECT_EQ(backend_->sent, (std::vector<Bytes>{Join({}, Frame(60))}));
}

// Case 36.

TEST_F(NetMalformedTest, UselessReceiveBuffersComeBackEmptyAndTheNextOneIsUsed) {
  const uint16_t zero = driver_.Chain(kReceive).Writable(0).Submit();
  const uint16_t small = driver_.Chain(kReceive).Writable(12).Submit();
  const uint16_t read_only = driver_.Chain(kReceive).Readable(Bytes(2048)).Submit();
  GiveAndKick(2048);
  backend_->Arrive(Frame(60));

  EXPECT_EQ(driver_.PopUsed(kReceive), (FakeUsed{zero, 0}));
  EXPECT_EQ(driver_.PopUsed(kReceive), (FakeUsed{small, 0}));
  EXPECT_EQ(driver_.PopUsed(kReceive), (FakeUsed{read_only, 0}));
  EXPECT_EQ(Received(), Plain(Frame(60)));
}

TEST_F(NetMalformedTest, QueueFullOfUselessBuffersIsNotTheEnd) {
  for (int i = 0; i < 256; ++i) Give(1);
  driver_.Kick(kReceive);
  backend_->Arrive(Frame(60));
  RunReady(loop_.get());
  for (int i = 0; i < 256; ++i) EXPECT_EQ(driver_.PopUsed(kReceive)->length, 0);

  GiveAndKick(2048);

  EXPECT_EQ(Received(), Plain(Frame(60)));
}

TEST_F(NetMalformedTest, FrameAboveALoneBufferIsDroppedAndTheNextOneArrives) {
  Start(UINT64_MAX & ~net::kFeatureMergeableBuffers);
  const uint16_t small = GiveAndKick(100);
  backend_->Arrive(Frame(200));
  EXPECT_EQ(driver_.PopUsed(kReceive), (FakeUsed{small, 0}));
  EXPECT_EQ(device_->metrics().rx_dropped.value(), 1);

  GiveAndKick(2048);
  backend_->Arrive(Frame(201));

  EXPECT_EQ(Received(), Plain(Frame(201)));
}

TEST_F(NetMalformedTest, FrameAboveTheWholeQueueIsDroppedAndTheNextOneArrives) {
  driver_.Start(UINT64_MAX & ~kFeatureEventIndex, 4);
  for (int i = 0; i < 4; ++i) GiveAndKick(100);
  backend_->Arrive(Frame(400));
  EXPECT_EQ(device_->metrics().rx_dropped.value(), 1);

  backend_->Arrive(Frame(60));

  EXPECT_EQ(Received(), Plain(Frame(60)));
}

// Each chain names all descriptors once more, so that there are 256 times 256 buffers.
TEST_F(NetMalformedTest, ChainsThatShareAllTheirDescriptorsAreNotAllTaken) {
  for (uint16_t i = 0; i < 256; ++i) {
    const auto flags = static_cast<uint16_t>(kFakeWrite | (i < 255 ? kFakeNext : 0));
    driver_.queue(kReceive).WriteDescriptor(i, {16 << 20, 1, flags, static_cast<uint16_t>(i + 1)});
  }
  for (int i = 0; i < 256; ++i) driver_.queue(kReceive).Publish(0);
  driver_.Kick(kReceive);

  backend_->Arrive(Frame(60));
  EXPECT_EQ(driver_.PopUsed(kReceive), (FakeUsed{0, 72}));
  backend_->Arrive(Frame(3000));
  EXPECT_EQ(device_->metrics().rx_dropped.value(), 1);
  EXPECT_FALSE(NeedsReset());
}

// Case 38.

TEST_F(NetMalformedTest, FrameWithAnothersAddressIsDroppedIfThatIsWanted) {
  constexpr MacAddress kOther{0x02, 0, 0, 0, 0, 0x02};
  EXPECT_TRUE(Passes({}, Frame(60, kOther)));
  Start(UINT64_MAX, {.filter_source = true});
  EXPECT_FALSE(Passes({}, Frame(60, kOther)));
  EXPECT_TRUE(Passes({}, Frame(60, kMac)));
  EXPECT_EQ(device_->metrics().tx_filtered.value(), 1);
}

TEST_F(NetMalformedTest, AddressSplitOverDescriptorsIsFilteredToo) {
  constexpr MacAddress kOther{0x02, 0, 0, 0, 0, 0x02};
  Start(UINT64_MAX, {.filter_source = true});
  const Bytes bytes = Join({}, Frame(60, kOther));
  EXPECT_TRUE(Send(driver_.Chain(kTransmit)
                       .Readable(std::span(bytes).first(20))
                       .Readable(std::span(bytes).subspan(20))));
  EXPECT_EQ(backend_->writes, 0);
}

}  // namespace
}  // namespace mayfly
