#include <malloc.h>

#include "tests/unit/devices/virtio/vsock/vsock_fixture.h"

// Guests that break the rules, and hosts that do not keep up.
namespace mayfly {
namespace {

using vsock::Op;

constexpr uint32_t kCap = VsockConnection::kBufferSize;

class VsockHostileTest : public VsockFixture {
 protected:
  // Sends `count` requests from ports of their own.
  void Flood(uint32_t count) {
    vsock::PacketHeader request = Header(Op::kRequest);
    for (uint32_t i = 0; i < count; ++i) {
      request.src_port = 10'000 + i;
      Send(request);
    }
  }
  // A payload packet whose bytes nobody looks at, of `length` bytes as its header says.
  void SendRaw(uint32_t length, uint32_t buffer_length) {
    vsock::PacketHeader header = Header(Op::kRw);
    header.len = length;
    driver_.Chain(kTransmit).Readable(header).ReadableAt(kRawBuffer, buffer_length).Submit();
    driver_.Kick(kTransmit);
    driver_.PopUsed(kTransmit);
  }
};

// Case 39: lengths.

TEST_F(VsockHostileTest, PacketShorterThanItsHeaderIsDropped) {
  Connect();

  driver_.Chain(kTransmit).Readable(std::vector<uint8_t>(43)).Submit();
  driver_.Chain(kTransmit).Writable(44).Submit();
  driver_.Kick(kTransmit);

  EXPECT_TRUE(driver_.PopUsed(kTransmit));
  EXPECT_TRUE(driver_.PopUsed(kTransmit));
  EXPECT_FALSE(Receive());
  EXPECT_EQ(device_->metrics().malformed.value(), 2);
  EXPECT_EQ(device_->metrics().connections.value(), 1);
}

TEST_F(VsockHostileTest, PayloadThatIsNotThereResetsTheConnection) {
  const FakeHostEnd& host = Connect();
  vsock::PacketHeader header = Header(Op::kRw);
  header.len = 1;

  Send(header);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_EQ(host.from_guest, "");
}

TEST_F(VsockHostileTest, LengthBeyondTheBufferResetsTheConnection) {
  const FakeHostEnd& host = Connect();

  SendRaw(4097, 4096);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_EQ(host.from_guest, "");
}

TEST_F(VsockHostileTest, LengthBeyond64KibibytesResetsTheConnection) {
  const FakeHostEnd& host = Connect();

  SendRaw(vsock::kMaxPayload + 1, 1 << 20);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_EQ(host.from_guest, "");
}

TEST_F(VsockHostileTest, LengthOf4GibibytesResetsTheConnection) {
  Connect();

  SendRaw(UINT32_MAX, 1 << 20);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockHostileTest, PayloadOfAControlPacketResetsTheConnection) {
  Connect();
  vsock::PacketHeader header = Header(Op::kCreditUpdate);
  header.len = 4;

  Send(header, "data");

  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockHostileTest, ReceiveBufferWithoutRoomForPayloadIsReturnedEmpty) {
  driver_.Chain(kReceive).Writable(sizeof(vsock::PacketHeader)).Submit();
  driver_.Kick(kReceive);
  Send(Op::kRequest);

  EXPECT_EQ(driver_.PopUsed(kReceive)->length, 0);
}

// Case 40: addresses, types and states.

TEST_F(VsockHostileTest, ForeignSourceIsDropped) {
  GiveBuffers(1);
  vsock::PacketHeader header = Header(Op::kRequest);
  header.src_cid = 4;

  Send(header);

  EXPECT_FALSE(Receive());
  EXPECT_TRUE(service_.hosts.empty());
}

TEST_F(VsockHostileTest, ForeignDestinationIsReset) {
  GiveBuffers(1);
  vsock::PacketHeader header = Header(Op::kRequest);
  header.dst_cid = 7;

  Send(header);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(service_.hosts.empty());
}

TEST_F(VsockHostileTest, UnknownTypeIsReset) {
  GiveBuffers(1);
  vsock::PacketHeader header = Header(Op::kRequest);
  header.type = 2;

  Send(header);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(service_.hosts.empty());
}

TEST_F(VsockHostileTest, UnknownOpResetsTheConnection) {
  Connect();

  // NOLINTNEXTLINE(clang-analyzer-optin.core.EnumCastOutOfRange): what it is about.
  Send(static_cast<Op>(99));

  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockHostileTest, OpWithoutAConnectionIsReset) {
  GiveBuffers(1);

  SendBytes("for nobody");

  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockHostileTest, ResetWithoutAConnectionIsNotAnswered) {
  GiveBuffers(1);

  Send(Op::kRst);

  EXPECT_FALSE(Receive());
}

TEST_F(VsockHostileTest, ResponseToNoRequestResetsTheConnection) {
  Connect();

  Send(Op::kResponse);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockHostileTest, ResponseBeforeTheRequestWasSeenEndsTheConnection) {
  const auto host = std::make_shared<FakeHostEnd>();
  ASSERT_TRUE(device_->Connect(kGuestPort, std::make_unique<FakeVsockStream>(host),
                               [](uint32_t, VsockStream&) {}));
  vsock::PacketHeader response = Header(Op::kResponse);
  response.dst_port = 1U << 30;

  Send(response);

  EXPECT_TRUE(host->destroyed);
  // The guest knows of no connection that could be reset.
  EXPECT_EQ(device_->metrics().resets.value(), 0);
}

TEST_F(VsockHostileTest, SecondRequestOnTheSamePortsResetsTheFirst) {
  const FakeHostEnd& host = Connect();

  Send(Op::kRequest);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(host.destroyed);
}

TEST_F(VsockHostileTest, BytesAfterTheEndResetTheConnection) {
  Connect();
  SendShutdown(vsock::kShutdownSend);

  SendBytes("more");

  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

// Case 41: credit.

TEST_F(VsockHostileTest, BytesBeyondTheCreditResetTheConnection) {
  FakeHostEnd& host = Connect();
  host.room = 0;
  SendRaw(kCap, kCap);
  EXPECT_FALSE(Receive());

  SendBytes("x");

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(host.destroyed);
}

TEST_F(VsockHostileTest, NothingIsSentWithoutCredit) {
  GiveBuffers(8);
  vsock::PacketHeader request = Header(Op::kRequest);
  request.buf_alloc = 0;
  Send(request);
  ASSERT_EQ(ReceiveOp(), Op::kResponse);
  FakeHostEnd& host = *service_.hosts.back();
  host.to_guest = "patient";
  host.Ready();
  EXPECT_FALSE(Receive());
  EXPECT_FALSE(host.waits_to_read);

  Send(Op::kCreditUpdate);

  EXPECT_EQ(Receive()->payload, "patient");
}

TEST_F(VsockHostileTest, CreditIsUsedUpToTheLastByteAndThenAskedFor) {
  GiveBuffers(8);
  vsock::PacketHeader request = Header(Op::kRequest);
  request.buf_alloc = 10;
  Send(request);
  ASSERT_EQ(ReceiveOp(), Op::kResponse);
  FakeHostEnd& host = *service_.hosts.back();
  host.endless = true;

  host.Ready();

  EXPECT_EQ(Receive()->payload.size(), 10);
  EXPECT_EQ(ReceiveOp(), Op::kCreditRequest);
  EXPECT_FALSE(Receive());
}

TEST_F(VsockHostileTest, ForwardCountAheadOfWhatWasSentIsNoCredit) {
  FakeHostEnd& host = Connect();
  vsock::PacketHeader update = Header(Op::kCreditUpdate);
  update.fwd_cnt = 1'000'000'000;
  Send(update);
  host.endless = true;

  host.Ready();

  EXPECT_FALSE(Receive());
}

TEST_F(VsockHostileTest, UnlimitedRoomOfTheGuestsCostsNoMemoryOfTheHosts) {
  FakeHostEnd& host = Connect();
  vsock::PacketHeader update = Header(Op::kCreditUpdate);
  update.buf_alloc = UINT32_MAX;
  Send(update);
  host.endless = true;

  host.Ready();

  // As much as there are buffers for, and the rest stays with the host.
  EXPECT_EQ(device_->metrics().bytes_to_guest.value(),
            8 * (kBufferSize - sizeof(vsock::PacketHeader)));
}

TEST_F(VsockHostileTest, CountersOfTheGuestsDirectionWrapAt4Gibibytes) {
  constexpr uint64_t kBytes = (1ULL << 32) + 2ULL * kCap;
  FakeHostEnd& host = Connect();
  host.keep = false;

  for (uint64_t sent = 0; sent < kBytes; sent += kCap) {
    SendRaw(kCap, kCap);
    Receive();
  }

  EXPECT_FALSE(host.destroyed);
  EXPECT_EQ(device_->metrics().bytes_to_host.value(), kBytes);
}

TEST_F(VsockHostileTest, CountersOfTheHostsDirectionWrapAt4Gibibytes) {
  Connect();
  FakeHostEnd& host = *service_.hosts.back();
  for (int i = 0; i < 8; ++i) driver_.Chain(kReceive).WritableAt(kRawBuffer, 1 << 20).Submit();
  host.endless = true;
  host.Ready();
  vsock::PacketHeader update = Header(Op::kCreditUpdate);

  while (device_->metrics().bytes_to_guest.value() < (1ULL << 32) + (1 << 20)) {
    ASSERT_TRUE(driver_.PopUsed(kReceive));
    driver_.Chain(kReceive).WritableAt(kRawBuffer, 1 << 20).Submit();
    update.fwd_cnt = static_cast<uint32_t>(device_->metrics().bytes_to_guest.value());
    Send(update);
  }

  EXPECT_FALSE(host.destroyed);
}

// Case 42: many connections.

TEST_F(VsockHostileTest, ConnectionsBeyond1023AreReset) {
  GiveBuffers(64);

  Flood(1100);

  EXPECT_EQ(service_.hosts.size(), 1023);
  EXPECT_EQ(device_->metrics().connections.value(), 1023);
  EXPECT_EQ(device_->metrics().refused.value(), 77);
  EXPECT_FALSE(device_->Connect(1, std::make_unique<FakeVsockStream>(service_.hosts[0]),
                                [](uint32_t, VsockStream&) {}));
}

TEST_F(VsockHostileTest, SlotOfAConnectionThatEndedIsFreeAgain) {
  GiveBuffers(64);
  Flood(1023);
  vsock::PacketHeader reset = Header(Op::kRst);
  reset.src_port = 10'000;

  Send(reset);
  Send(Op::kRequest);

  EXPECT_EQ(service_.hosts.size(), 1024);
}

// What a connection had waiting for a receive buffer was left behind when it was reset.
TEST_F(VsockHostileTest, ConnectionsOpenedAndResetWithoutEndTakeNoMemory) {
  const auto storm = [this](int count) {
    for (int i = 0; i < count; ++i) {
      Send(Op::kRequest);
      Send(Op::kRst);
    }
    service_ = {};
  };
  storm(100);
  const size_t before = ::mallinfo2().uordblks;

  storm(20'000);

  EXPECT_LT(::mallinfo2().uordblks, before + 100'000);
}

// Case 43: resets, and hosts that are slow or gone.

TEST_F(VsockHostileTest, StormOfResetsStallsTransmissionAndLosesNone) {
  vsock::PacketHeader header = Header(Op::kRw);
  for (uint32_t i = 0; i < VsockDevice::kMaxOwedResets + 50; ++i) {
    header.src_port = 10'000 + i;
    Send(header);
  }
  EXPECT_EQ(device_->metrics().resets.value(), VsockDevice::kMaxOwedResets);

  GiveBuffers(100);
  RunReady(loop_.get());
  std::set<uint32_t> ports;
  while (const auto packet = Receive()) {
    EXPECT_EQ(packet->op(), Op::kRst);
    ports.insert(packet->header.dst_port);
    RunReady(loop_.get());
  }

  EXPECT_EQ(ports.size(), VsockDevice::kMaxOwedResets + 50);
}

TEST_F(VsockHostileTest, SlowHostIsWaitedForOnceAndTakesAllInTheEnd) {
  FakeHostEnd& host = Connect();
  host.room = 3;
  SendBytes("abcdef");
  SendBytes("ghi");
  EXPECT_EQ(host.from_guest, "abc");
  EXPECT_TRUE(host.waits_to_write);
  const int interests = host.interests;

  Send(Op::kCreditUpdate);
  EXPECT_EQ(host.interests, interests);
  host.room = SIZE_MAX;
  host.Ready();

  EXPECT_EQ(host.from_guest, "abcdefghi");
  EXPECT_FALSE(host.waits_to_write);
}

// A connection that always had something for the guest never asked whether the host can be written.
TEST_F(VsockHostileTest, HostThatSendsWithoutEndStillGetsTheGuestsBytes) {
  FakeHostEnd& host = Connect();
  host.endless = true;
  host.Ready();
  host.room = 0;

  SendBytes("kept");

  EXPECT_TRUE(host.waits_to_write);
}

TEST_F(VsockHostileTest, GuestWithoutBuffersIsNotWaitedForByPolling) {
  FakeHostEnd& host = Connect();
  host.endless = true;

  host.Ready();
  const int interests = host.interests;
  host.Ready();  // As a hang-up does.

  EXPECT_FALSE(host.waits_to_read);
  EXPECT_EQ(host.interests, interests);
}

}  // namespace
}  // namespace mayfly
