#pragma once

#include <gtest/gtest.h>

#include "base/file.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_vsock_stream.h"
#include "tests/fakes/loop.h"

namespace mayfly {

// A vsock device with CID 3 behind its transport, and a driver that speaks packets. The guest's
// port is kGuestPort, the host's kHostPort, unless a test says otherwise.
class VsockFixture : public ::testing::Test {
 protected:
  static constexpr uint32_t kGuestPort = 1000;
  static constexpr uint32_t kHostPort = 80;
  static constexpr uint32_t kRoom = 1 << 20;  // The guest's buf_alloc.
  static constexpr uint32_t kBufferSize = 4096;
  // Guest memory that FakeQueue does not use, for payloads that nobody looks at.
  static constexpr uint64_t kRawBuffer = 8ULL << 20;
  enum Queue : size_t { kReceive = 0, kTransmit = 1, kEvent = 2 };

  struct Packet {
    vsock::PacketHeader header;
    std::string payload;
    [[nodiscard]] vsock::Op op() const { return static_cast<vsock::Op>(header.op); }
  };

  VsockFixture() {
    auto device = *VsockDevice::Create(
        {.name = "vsock", .loop = loop_.get(), .services = {}, .host = &service_}, VsockState{});
    device_ = device.get();
    transport_ = *MmioTransport::Create({.name = "vsock",
                                         .device = std::move(device),
                                         .memory = memory_.get(),
                                         .interrupt = &line_,
                                         .loop = loop_.get()});
    driver_ = FakeDriver(memory_.get(), transport_.get());
    driver_.Start();
  }

  static vsock::PacketHeader Header(vsock::Op op) {
    vsock::PacketHeader header{};
    header.src_cid = 3;
    header.dst_cid = vsock::kHostCid;
    header.src_port = kGuestPort;
    header.dst_port = kHostPort;
    header.type = vsock::kTypeStream;
    header.op = static_cast<uint16_t>(op);
    header.buf_alloc = kRoom;
    return header;
  }

  // Gives the device `count` receive buffers.
  void GiveBuffers(int count) {
    for (int i = 0; i < count; ++i) driver_.Chain(kReceive).Writable(kBufferSize).Submit();
    driver_.Kick(kReceive);
  }

  // Sends a packet, and takes its chain back if the device has finished with it.
  void Send(const vsock::PacketHeader& header, std::string_view payload = "") {
    auto chain = driver_.Chain(kTransmit);
    chain.Readable(header);
    if (!payload.empty()) chain.Readable(AsBytes(payload));
    chain.Submit();
    driver_.Kick(kTransmit);
    driver_.PopUsed(kTransmit);
  }
  void Send(vsock::Op op) { Send(Header(op)); }
  void SendBytes(std::string_view bytes) {
    vsock::PacketHeader header = Header(vsock::Op::kRw);
    header.len = static_cast<uint32_t>(bytes.size());
    Send(header, bytes);
  }
  void SendShutdown(uint32_t flags) {
    vsock::PacketHeader header = Header(vsock::Op::kShutdown);
    header.flags = flags;
    Send(header);
  }

  // The next packet in a receive buffer. Its buffer goes back to the device.
  std::optional<Packet> Receive() {
    const auto used = driver_.PopUsed(kReceive);
    if (!used) return std::nullopt;
    std::vector<uint8_t> bytes = driver_.Written(used->head, kReceive);
    bytes.resize(used->length);
    Packet packet{};
    std::memcpy(&packet.header, bytes.data(), sizeof(packet.header));
    packet.payload = AsText(std::span(bytes).subspan(sizeof(packet.header)));
    EXPECT_EQ(packet.header.len, packet.payload.size());
    GiveBuffers(1);
    return packet;
  }
  vsock::Op ReceiveOp() {
    const auto packet = Receive();
    return packet ? packet->op() : vsock::Op::kInvalid;
  }

  // A connection of the guest's, with eight receive buffers; returns the host's end.
  FakeHostEnd& Connect() {
    GiveBuffers(8);
    Send(vsock::Op::kRequest);
    EXPECT_EQ(ReceiveOp(), vsock::Op::kResponse);
    return *service_.hosts.back();
  }

  std::unique_ptr<GuestMemory> memory_ = *GuestMemory::Create(16ULL << 20);
  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  FakeInterruptLine line_;
  FakeVsockService service_;
  std::unique_ptr<MmioTransport> transport_;
  VsockDevice* device_ = nullptr;
  FakeDriver driver_{memory_.get(), nullptr};
};

}  // namespace mayfly
