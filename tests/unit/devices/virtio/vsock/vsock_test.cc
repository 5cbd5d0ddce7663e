#include "devices/virtio/vsock/vsock.h"

#include "tests/unit/devices/virtio/vsock/vsock_fixture.h"

namespace mayfly {
namespace {

using vsock::Op;

class VsockTest : public VsockFixture {};

// Registers and configuration.

TEST_F(VsockTest, IsASocketDeviceWithItsCid) {
  EXPECT_EQ(driver_.ReadRegister(mmio::kDeviceId), 19);
  EXPECT_EQ(driver_.ReadConfig<uint64_t>(0), 3);
  driver_.WriteConfig(0, BytesOf(uint64_t{9}));
  EXPECT_EQ(driver_.ReadConfig<uint64_t>(0), 3);
}

// Happy path.

TEST_F(VsockTest, GuestConnectsAndBytesGoBothWays) {
  FakeHostEnd& host = Connect();
  EXPECT_EQ(service_.ports, std::vector<uint32_t>{kHostPort});

  SendBytes("to the host");
  EXPECT_EQ(host.from_guest, "to the host");

  host.to_guest = "to the guest";
  host.Ready();
  const auto packet = Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->op(), Op::kRw);
  EXPECT_EQ(packet->payload, "to the guest");
  EXPECT_EQ(packet->header.src_cid, vsock::kHostCid);
  EXPECT_EQ(packet->header.dst_cid, 3);
  EXPECT_EQ(packet->header.src_port, kHostPort);
  EXPECT_EQ(packet->header.dst_port, kGuestPort);
  EXPECT_EQ(packet->header.buf_alloc, VsockConnection::kBufferSize);
  EXPECT_EQ(packet->header.fwd_cnt, 11);
}

TEST_F(VsockTest, HostConnectsOnceTheGuestAccepts) {
  GiveBuffers(8);
  const auto host = std::make_shared<FakeHostEnd>();
  uint32_t port = 0;
  host->to_guest = "early";

  ASSERT_TRUE(device_->Connect(52, std::make_unique<FakeVsockStream>(host),
                               [&](uint32_t host_port, VsockStream&) { port = host_port; }));
  const auto request = Receive();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->op(), Op::kRequest);
  EXPECT_EQ(request->header.dst_port, 52);
  EXPECT_FALSE(Receive());  // Nothing of the host's before the guest has accepted.
  vsock::PacketHeader response = Header(Op::kResponse);
  response.src_port = 52;
  response.dst_port = request->header.src_port;
  Send(response);

  EXPECT_EQ(port, request->header.src_port);
  EXPECT_EQ(Receive()->payload, "early");
}

TEST_F(VsockTest, TwoHostConnectionsToOnePortHaveTheirOwnPorts) {
  GiveBuffers(8);
  const auto connect = [this] {
    return device_->Connect(52, std::make_unique<FakeVsockStream>(std::make_shared<FakeHostEnd>()),
                            [](uint32_t, VsockStream&) {});
  };

  ASSERT_TRUE(connect());
  ASSERT_TRUE(connect());

  EXPECT_NE(Receive()->header.src_port, Receive()->header.src_port);
}

TEST_F(VsockTest, ConnectionsTakeTurns) {
  GiveBuffers(8);
  vsock::PacketHeader second = Header(Op::kRequest);
  second.src_port = kGuestPort + 1;
  Send(Op::kRequest);
  Send(second);
  ASSERT_EQ(ReceiveOp(), Op::kResponse);
  ASSERT_EQ(ReceiveOp(), Op::kResponse);
  service_.hosts[0]->endless = true;
  service_.hosts[1]->endless = true;

  service_.hosts[0]->Ready();  // Fills all buffers that there are.
  service_.hosts[1]->Ready();
  for (int i = 0; i < 8; ++i) Receive();

  EXPECT_EQ(Receive()->header.dst_port + Receive()->header.dst_port, 2 * kGuestPort + 1);
  EXPECT_EQ(Receive()->header.dst_port + Receive()->header.dst_port, 2 * kGuestPort + 1);
}

TEST_F(VsockTest, GuestThatHasEndedStillReceives) {
  FakeHostEnd& host = Connect();

  SendShutdown(vsock::kShutdownSend);
  EXPECT_TRUE(host.write_shut_down);
  EXPECT_FALSE(host.read_shut_down);
  host.to_guest = "late";
  host.Ready();

  EXPECT_EQ(Receive()->payload, "late");
}

TEST_F(VsockTest, HostThatHasEndedStillReceives) {
  FakeHostEnd& host = Connect();
  host.ended = true;

  host.Ready();
  const auto shutdown = Receive();
  ASSERT_TRUE(shutdown);
  EXPECT_EQ(shutdown->op(), Op::kShutdown);
  EXPECT_EQ(shutdown->header.flags, vsock::kShutdownSend);
  SendBytes("late");

  EXPECT_EQ(host.from_guest, "late");
}

TEST_F(VsockTest, BothDirectionsEndedIsConfirmedWithAReset) {
  FakeHostEnd& host = Connect();
  host.ended = true;
  host.Ready();
  ASSERT_EQ(ReceiveOp(), Op::kShutdown);

  SendShutdown(vsock::kShutdownSend);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(host.destroyed);
}

TEST_F(VsockTest, GuestThatReceivesNoMoreStopsTheHostsWriter) {
  FakeHostEnd& host = Connect();
  host.to_guest = "unwanted";

  SendShutdown(vsock::kShutdownReceive);
  host.Ready();

  EXPECT_TRUE(host.read_shut_down);
  EXPECT_FALSE(Receive());
  SendBytes("still sent");
  EXPECT_EQ(host.from_guest, "still sent");
}

TEST_F(VsockTest, EndWaitsForWhatTheHostHasNotTakenYet) {
  FakeHostEnd& host = Connect();
  host.room = 0;
  SendBytes("last words");

  SendShutdown(vsock::kShutdownSend | vsock::kShutdownReceive);
  EXPECT_FALSE(host.write_shut_down);
  EXPECT_FALSE(Receive());
  host.room = SIZE_MAX;
  host.Ready();

  EXPECT_EQ(host.from_guest, "last words");
  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockTest, CreditRequestIsAnsweredWithOurCredit) {
  Connect();

  Send(Op::kCreditRequest);

  const auto update = Receive();
  ASSERT_TRUE(update);
  EXPECT_EQ(update->op(), Op::kCreditUpdate);
  EXPECT_EQ(update->header.buf_alloc, VsockConnection::kBufferSize);
}

TEST_F(VsockTest, GuestHearsOfRoomBeforeItHasNone) {
  FakeHostEnd& host = Connect();

  SendBytes(std::string(VsockConnection::kBufferSize / 2 + 1, 'x'));

  const auto update = Receive();
  ASSERT_TRUE(update);
  EXPECT_EQ(update->op(), Op::kCreditUpdate);
  EXPECT_EQ(update->header.fwd_cnt, host.from_guest.size());
}

TEST_F(VsockTest, HostsBytesWaitWhileTheMachineIsPaused) {
  FakeHostEnd& host = Connect();
  transport_->Pause();
  const std::vector<VirtqueueState> paused = device_->SaveQueues();

  host.to_guest = "late";
  host.Ready();
  RunReady(loop_.get());

  EXPECT_EQ(device_->SaveQueues(), paused);
  EXPECT_FALSE(Receive());
  transport_->Resume();
  RunReady(loop_.get());
  EXPECT_EQ(Receive()->payload, "late");
}

// Backend failure.

TEST_F(VsockTest, RefusedConnectionIsReset) {
  GiveBuffers(1);
  service_.refuse = true;

  Send(Op::kRequest);

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_EQ(device_->metrics().refused.value(), 1);
}

TEST_F(VsockTest, HostThatIsGoneWhenTheGuestWritesIsReset) {
  FakeHostEnd& host = Connect();
  host.broken = true;

  SendBytes("x");

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(host.destroyed);
}

TEST_F(VsockTest, HostThatFailsToBeReadIsReset) {
  FakeHostEnd& host = Connect();
  host.broken = true;

  host.Ready();

  EXPECT_EQ(ReceiveOp(), Op::kRst);
  EXPECT_TRUE(host.destroyed);
}

TEST_F(VsockTest, EventOfAConnectionThatIsGoneFindsNothing) {
  FakeHostEnd& host = Connect();
  const std::shared_ptr<FakeHostEnd> keep = service_.hosts.back();
  Send(Op::kRst);
  Connect();  // On the same ports.

  host.Ready();

  EXPECT_EQ(device_->metrics().connections.value(), 1);
  EXPECT_FALSE(Receive());
}

TEST_F(VsockTest, ResetOfTheDeviceEndsAllConnections) {
  const FakeHostEnd& host = Connect();

  driver_.Start();

  EXPECT_TRUE(host.destroyed);
  EXPECT_EQ(device_->metrics().connections.value(), 0);
  Connect();
}

}  // namespace
}  // namespace mayfly
