#include "devices/virtio/vsock/vsock_state.h"

#include "tests/unit/devices/virtio/vsock/vsock_fixture.h"

// What becomes of connections when their machine begins another life.
namespace mayfly {
namespace {

using vsock::Op;

// kHostPort leads to a service inside the VMM, kOtherPort to the host.
class VsockStateTest : public VsockFixture {
 protected:
  static constexpr uint32_t kOtherPort = kHostPort + 1;

  struct Saved {
    VsockState vsock;
    MmioState transport;
  };

  VsockStateTest() {
    Build({});
    driver_.Reattach(transport_.get());
    driver_.Start();
  }

  Result<std::unique_ptr<VsockDevice>> MakeDevice(const VsockState& state) {
    return VsockDevice::Create({.name = "vsock",
                                .loop = loop_.get(),
                                .services = {{kHostPort, &function_}},
                                .host = &service_,
                                .new_cid = new_cid_},
                               state);
  }

  void Build(const Saved& saved) {
    transport_.reset();
    auto device = *MakeDevice(saved.vsock);
    device_ = device.get();
    transport_ = *MmioTransport::Create({.name = "vsock",
                                         .device = std::move(device),
                                         .memory = memory_.get(),
                                         .interrupt = &line_,
                                         .loop = loop_.get()},
                                        saved.transport);
  }

  [[nodiscard]] Saved Save() const { return {device_->Save(), transport_->Save()}; }

  // Another life of the same machine, from here on.
  void BeginLife() {
    Build(Save());
    driver_.Reattach(transport_.get());
    RunReady(loop_.get());
  }

  // A connection of the guest's to the service, with eight receive buffers.
  FakeHostEnd& ConnectToService() {
    GiveBuffers(8);
    Send(Op::kRequest);
    EXPECT_EQ(ReceiveOp(), Op::kResponse);
    return function();
  }
  // The service's end of the newest connection.
  FakeHostEnd& function() { return *function_.hosts.back(); }

  static vsock::PacketHeader HeaderTo(uint32_t host_port, Op op) {
    vsock::PacketHeader header = Header(op);
    header.dst_port = host_port;
    return header;
  }

  // What the guest reads from the configuration.
  [[nodiscard]] uint64_t Cid() {
    uint64_t cid = 0;
    device_->ReadConfig(0, MutableBytesOf(cid));
    return cid;
  }

  FakeVsockService function_;
  std::optional<uint64_t> new_cid_;
};

TEST_F(VsockStateTest, DeviceSavesWhatItWasMadeOf) {
  const auto device = MakeDevice(VsockState{77});
  ASSERT_TRUE(device);
  EXPECT_EQ((*device)->Save(), VsockState{77});
}

TEST_F(VsockStateTest, ReservedCidsAreRefused) {
  const auto code = [&](uint64_t cid) {
    const auto device = MakeDevice(VsockState{cid});
    return device ? ErrorCode::kHost : device.error().code();
  };
  EXPECT_EQ(code(0), ErrorCode::kCorrupt);
  EXPECT_EQ(code(2), ErrorCode::kCorrupt);
  EXPECT_EQ(code(0xffff'ffff), ErrorCode::kCorrupt);
  EXPECT_EQ(code(1ULL << 32 | 3), ErrorCode::kCorrupt);
}

TEST_F(VsockStateTest, ReservedNewCidsAreRefused) {
  new_cid_ = 2;
  EXPECT_FALSE(MakeDevice(VsockState{}));
}

TEST_F(VsockStateTest, ANewLifeHasAnotherCidAndIsTold) {
  driver_.Chain(kEvent).Writable(4).Submit();
  new_cid_ = 77;

  BeginLife();

  const auto event = driver_.PopUsed(kEvent);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->length, 4u);
  EXPECT_EQ(driver_.Written(event->head, kEvent), std::vector<uint8_t>(4));  // A transport reset.
  EXPECT_EQ(Cid(), 77u);
  EXPECT_EQ(device_->Save(), VsockState{77});
}

TEST_F(VsockStateTest, TheCidStaysUntilTheGuestCanBeTold) {
  new_cid_ = 77;
  BeginLife();
  GiveBuffers(8);
  EXPECT_EQ(Cid(), 3u);
  EXPECT_EQ(device_->Save(), VsockState{3});
  Send(HeaderTo(kOtherPort, Op::kRequest));
  EXPECT_EQ(Receive()->header.dst_cid, 3u);

  driver_.Chain(kEvent).Writable(2).Submit();
  driver_.Kick(kEvent);
  EXPECT_EQ(driver_.PopUsed(kEvent)->length, 0u);
  EXPECT_EQ(Cid(), 3u);
  driver_.Chain(kEvent).Writable(8).Submit();
  driver_.Kick(kEvent);

  EXPECT_EQ(driver_.PopUsed(kEvent)->length, 4u);
  EXPECT_EQ(Cid(), 77u);
  EXPECT_TRUE(device_->Save().resets.empty());  // The guest has forgotten its connection.
}

TEST_F(VsockStateTest, ADriverThatStartsAgainFindsTheNewCid) {
  new_cid_ = 77;
  BeginLife();
  driver_.Start();
  EXPECT_EQ(Cid(), 77u);
}

TEST_F(VsockStateTest, WithoutANewCidNoEventIsSent) {
  driver_.Chain(kEvent).Writable(4).Submit();
  driver_.Kick(kEvent);
  BeginLife();
  EXPECT_FALSE(driver_.PopUsed(kEvent));
  EXPECT_EQ(Cid(), 3u);
}

TEST_F(VsockStateTest, ConnectionToAServiceIsSavedWhole) {
  FakeHostEnd& host = ConnectToService();
  host.to_guest = "hello";
  host.Ready();
  EXPECT_EQ(Receive()->payload, "hello");
  host.room = 2;
  SendBytes("abc");

  const VsockState state = device_->Save();

  ASSERT_EQ(state.connections.size(), 1u);
  const VsockConnectionState& connection = state.connections[0];
  EXPECT_EQ(connection.guest_port, kGuestPort);
  EXPECT_EQ(connection.host_port, kHostPort);
  EXPECT_EQ(connection.owed, 0);
  EXPECT_EQ(connection.sent, 5u);
  EXPECT_EQ(connection.peer_buf_alloc, kRoom);
  EXPECT_EQ(connection.received, 3u);
  EXPECT_EQ(connection.forwarded, 2u);
  EXPECT_EQ(connection.kept, std::vector<uint8_t>{'c'});
  EXPECT_TRUE(state.resets.empty());
}

TEST_F(VsockStateTest, SavedConnectionsRoundTrip) {
  ConnectToService().room = 0;
  SendBytes("abc");
  const Saved saved = Save();
  ASSERT_EQ(saved.vsock.connections.size(), 1u);

  BeginLife();

  EXPECT_EQ(device_->Save(), saved.vsock);
  EXPECT_EQ(transport_->Save(), saved.transport);
  EXPECT_EQ(function_.ports, (std::vector<uint32_t>{kHostPort, kHostPort}));
}

TEST_F(VsockStateTest, KeptBytesReachTheServiceOfTheNextLife) {
  ConnectToService().room = 0;
  SendBytes("abc");

  BeginLife();
  EXPECT_TRUE(function().waits_to_write);
  function().Ready();

  EXPECT_EQ(function().from_guest, "abc");
  SendBytes("def");
  EXPECT_EQ(function().from_guest, "abcdef");
  function().to_guest = "thanks";
  function().Ready();
  EXPECT_EQ(Receive()->header.fwd_cnt, 6u);
}

TEST_F(VsockStateTest, GuestsCreditSurvives) {
  GiveBuffers(8);
  vsock::PacketHeader request = Header(Op::kRequest);
  request.buf_alloc = 4;
  Send(request);
  EXPECT_EQ(ReceiveOp(), Op::kResponse);
  function().to_guest = "abcdef";
  function().Ready();
  EXPECT_EQ(Receive()->payload, "abcd");
  EXPECT_EQ(ReceiveOp(), Op::kCreditRequest);

  BeginLife();
  function().to_guest = "ef";
  function().Ready();
  EXPECT_FALSE(Receive());

  vsock::PacketHeader update = Header(Op::kCreditUpdate);
  update.buf_alloc = 4;
  update.fwd_cnt = 4;
  Send(update);
  EXPECT_EQ(Receive()->payload, "ef");
}

TEST_F(VsockStateTest, OurCreditSurvives) {
  ConnectToService().room = 0;
  SendBytes(std::string(VsockConnection::kBufferSize - 1, 'x'));

  BeginLife();
  function().room = 0;
  SendBytes("y");
  EXPECT_FALSE(Receive());

  SendBytes("z");
  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockStateTest, OwedResponseIsSentInTheNextLife) {
  Send(Op::kRequest);
  ASSERT_EQ(device_->Save().connections.at(0).owed, static_cast<uint16_t>(Op::kResponse));

  BeginLife();

  GiveBuffers(1);
  EXPECT_EQ(ReceiveOp(), Op::kResponse);
}

TEST_F(VsockStateTest, ConnectionsToTheHostAreResetInTheNextLife) {
  GiveBuffers(8);
  Send(HeaderTo(kOtherPort, Op::kRequest));
  EXPECT_EQ(ReceiveOp(), Op::kResponse);
  EXPECT_EQ(device_->Save().connections.size(), 0u);
  EXPECT_EQ(device_->Save().resets, (std::vector<VsockResetState>{{kGuestPort, kOtherPort}}));

  BeginLife();

  const auto packet = Receive();
  ASSERT_TRUE(packet);
  EXPECT_EQ(packet->op(), Op::kRst);
  EXPECT_EQ(packet->header.src_port, kOtherPort);
  EXPECT_EQ(packet->header.dst_port, kGuestPort);
  EXPECT_FALSE(Receive());
  EXPECT_EQ(device_->Save(), VsockState{});
}

TEST_F(VsockStateTest, ResetThatFindsNoBufferWaitsForOne) {
  GiveBuffers(1);
  Send(HeaderTo(kOtherPort, Op::kRequest));
  driver_.PopUsed(kReceive);

  BeginLife();
  EXPECT_EQ(device_->Save().resets.size(), 1u);

  GiveBuffers(1);
  EXPECT_EQ(ReceiveOp(), Op::kRst);
}

TEST_F(VsockStateTest, ConnectionsFromTheHostAreResetInTheNextLife) {
  GiveBuffers(8);
  auto host = std::make_shared<FakeHostEnd>();
  uint32_t host_port = 0;
  ASSERT_TRUE(device_->Connect(kGuestPort, std::make_unique<FakeVsockStream>(host),
                               [&](uint32_t port, VsockStream&) { host_port = port; }));
  const auto request = Receive();
  ASSERT_TRUE(request);
  Send(HeaderTo(request->header.src_port, Op::kResponse));
  ASSERT_EQ(host_port, request->header.src_port);

  BeginLife();

  EXPECT_TRUE(host->destroyed);
  EXPECT_EQ(Receive()->header.src_port, host_port);
}

TEST_F(VsockStateTest, ConnectionThatTheGuestDoesNotKnowOfIsForgotten) {
  ASSERT_TRUE(device_->Connect(
      kGuestPort, std::make_unique<FakeVsockStream>(std::make_shared<FakeHostEnd>()), nullptr));
  EXPECT_EQ(device_->Save(), VsockState{});
}

TEST_F(VsockStateTest, CountersThatWrapAreGood) {
  VsockConnectionState connection{.guest_port = kGuestPort, .host_port = kHostPort};
  connection.received = 1;
  connection.forwarded = UINT32_MAX;
  connection.kept = {7, 8};
  const VsockState state{3, {connection}};
  const auto device = MakeDevice(state);
  ASSERT_TRUE(device) << device.error().message();
  EXPECT_EQ((*device)->Save(), state);
}

TEST_F(VsockStateTest, EveryBadFieldOfAConnectionIsRefused) {
  const VsockConnectionState good{.guest_port = kGuestPort, .host_port = kHostPort};
  const auto code = [&](auto change) {
    VsockState state{3, {good}};
    change(state.connections[0]);
    const auto device = MakeDevice(state);
    return device ? std::nullopt : std::optional(device.error().code());
  };
  EXPECT_EQ(code([](auto&) {}), std::nullopt);
  EXPECT_EQ(code([](auto& c) { c.host_port = kOtherPort; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) { c.owed = 1; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) { c.owed = 3; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) { c.owed = 0xffff; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) { c.received = 1; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) { c.forwarded = 1; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) { c.kept = {1}; }), ErrorCode::kCorrupt);
  EXPECT_EQ(code([](auto& c) {
              c.received = VsockConnection::kBufferSize + 1;
              c.kept.resize(c.received);
            }),
            ErrorCode::kCorrupt);
}

TEST_F(VsockStateTest, TheSameConnectionTwiceIsRefused) {
  const VsockConnectionState good{.guest_port = kGuestPort, .host_port = kHostPort};
  const auto device = MakeDevice(VsockState{3, {good, good}});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().code(), ErrorCode::kCorrupt);
}

TEST_F(VsockStateTest, MoreThanThereCanBeIsRefused) {
  VsockState connections;
  connections.connections.resize(VsockDevice::kMaxConnections + 1);
  VsockState resets;
  resets.resets.resize(VsockDevice::kMaxConnections + VsockDevice::kMaxOwedResets + 1);
  EXPECT_EQ(MakeDevice(connections).error().message(),
            "vsock: connections: 1024, 1023 are the most");
  EXPECT_EQ(MakeDevice(resets).error().message(), "vsock: resets: 1280, 1279 are the most");
}

TEST_F(VsockStateTest, ServiceThatRefusesIsAnError) {
  function_.refuse = true;
  const auto device =
      MakeDevice(VsockState{3, {{.guest_port = kGuestPort, .host_port = kHostPort}}});
  ASSERT_FALSE(device);
  EXPECT_EQ(device.error().message(), "vsock: connect: injected");
}

}  // namespace
}  // namespace mayfly
