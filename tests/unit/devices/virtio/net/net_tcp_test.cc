#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "base/check.h"
#include "base/event_fd.h"
#include "base/file.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/net/tap_backend.h"
#include "tests/fakes/fake_driver.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

using Bytes = std::vector<uint8_t>;

// How much a transfer moves.
size_t TransferBytes() {
  const char* const mebibytes = std::getenv("MAYFLY_TEST_NET_MIB");
  return (mebibytes == nullptr ? 8 : std::strtoul(mebibytes, nullptr, 10)) << 20;
}

constexpr uint32_t kBufferBytes = 1536;  // About what Linux gives for mergeable buffers.

class EventLine final : public InterruptLine {
 public:
  void Raise() override { event.Signal(); }
  EventFd event = *EventFd::Create();
};

// Plays the guest: a driver that hands all frames on to a tap in another network namespace, where
// the host's own TCP stands for the guest's. Sleeps as Linux's driver does, by the event index, so
// that a kick or an interrupt that gets lost shows as a transfer that never ends.
class BridgingDriver {
 public:
  BridgingDriver(FakeDriver* driver, EventLine* line, UniqueFd tap)
      : driver_(driver), line_(line), tap_(std::move(tap)) {}

  void Run() {
    Refill();
    while (!stop_) {
      const bool received = Receive();
      const bool sent = Transmit();
      if (received || sent) continue;
      line_->event.Clear();
      if (!rx().MaySleep()) continue;
      std::array<pollfd, 2> events{{{tap_.get(), POLLIN, 0}, {line_->event.fd(), POLLIN, 0}}};
      // Nothing is to depend on this time-out but the end.
      ::poll(events.data(), events.size(), 5000);
    }
  }
  void Stop() {
    stop_ = true;
    line_->event.Signal();
  }

 private:
  FakeQueue& rx() { return driver_->queue(0); }
  FakeQueue& tx() { return driver_->queue(1); }

  void Refill() {
    const uint16_t before = rx().avail_index();
    for (; given_ < 256; ++given_) rx().Chain().Writable(kBufferBytes).Submit();
    if (rx().WantsKick(before)) driver_->Kick(0);
  }
  bool Receive() {
    const auto first = rx().PopUsed();
    if (!first) return false;
    Bytes frame = Take(*first);
    const uint16_t count = LoadLe<net::Header>(frame).num_buffers;
    for (uint16_t i = 1; i < count; ++i) {
      const Bytes part = Take(*rx().PopUsed());  // All together, or not yet.
      frame.insert(frame.end(), part.begin(), part.end());
    }
    (void)::write(tap_.get(), frame.data(), frame.size());
    if (given_ <= 256 - 32) Refill();
    return true;
  }
  Bytes Take(const FakeUsed& used) {
    Bytes bytes = rx().Written(used.head);
    bytes.resize(used.length);
    --given_;
    return bytes;
  }
  bool Transmit() {
    Bytes frame(net::kMostFrameBytes);
    const ssize_t length = ::read(tap_.get(), frame.data(), frame.size());
    if (length <= 0) return false;
    frame.resize(static_cast<size_t>(length));
    const uint16_t before = tx().avail_index();
    tx().Chain().Readable(frame).Submit();
    if (tx().WantsKick(before)) driver_->Kick(1);
    while (!tx().PopUsed() && !stop_) std::this_thread::yield();
    return true;
  }

  FakeDriver* driver_;
  EventLine* line_;
  UniqueFd tap_;
  int given_ = 0;
  std::atomic<bool> stop_{false};
};

// A tap with the guest's address: its frames may leave as much undone as those of a driver that has
// taken these features.
UniqueFd GuestTap(uint64_t features) {
  UniqueFd tap = *OpenFile("/dev/net/tun", O_RDWR | O_NONBLOCK);
  ifreq request{};
  std::strcpy(request.ifr_name, "guest");
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  const int header = sizeof(net::Header);
  EXPECT_EQ(::ioctl(tap.get(), TUNSETIFF, &request), 0);
  EXPECT_EQ(::ioctl(tap.get(), TUNSETVNETHDRSZ, &header), 0);
  const bool all = (features & net::kFeatureHostTso4) != 0;
  EXPECT_EQ(::ioctl(tap.get(), TUNSETOFFLOAD, all ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 : 0), 0);
  EXPECT_TRUE(Ip("addr add 172.31.0.2/30 dev guest") && Ip("link set guest up"));
  return tap;
}

uint8_t ByteAt(size_t position) { return static_cast<uint8_t>(position * 31 + (position >> 13)); }

void Send(int peer) {
  Bytes part(1 << 16);
  const size_t total = TransferBytes();
  for (size_t sent = 0; sent < total; sent += part.size()) {
    for (size_t i = 0; i < part.size(); ++i) part[i] = ByteAt(sent + i);
    for (size_t done = 0; done < part.size();) {
      const ssize_t count = ::send(peer, &part[done], part.size() - done, MSG_NOSIGNAL);
      if (count <= 0) return;
      done += static_cast<size_t>(count);
    }
  }
}

// How many right bytes come.
size_t Receive(int peer) {
  Bytes part(1 << 16);
  for (size_t received = 0;;) {
    const ssize_t count = ::recv(peer, part.data(), part.size(), 0);
    if (count <= 0) return received;
    for (ssize_t i = 0; i < count; ++i, ++received) {
      if (part[static_cast<size_t>(i)] != ByteAt(received)) return received;
    }
  }
}

UniqueFd Socket() {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(socket.valid());
  // A transfer that stands still fails the test instead of hanging it.
  const timeval limit{20, 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  return socket;
}

sockaddr_in Server() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(5001);
  ::inet_pton(AF_INET, "172.31.0.1", &address.sin_addr);
  return address;
}

// Two TCPs of Linux with the device between them: what the offloads and the merged buffers do is
// what they have to do for a guest.
class NetTcpTest : public testing::TestWithParam<uint64_t> {
 protected:
  // Sends one way through a device whose driver has taken these features; the bytes that came.
  static size_t Transfer(uint64_t features, bool to_guest) {
    size_t received = 0;
    const bool entered = InNetNamespace([&] {
      EXPECT_TRUE(Ip("tuntap add tap0 mode tap") && Ip("addr add 172.31.0.1/30 dev tap0") &&
                  Ip("link set tap0 up"));
      received = TransferHere(features, to_guest);
    });
    return entered ? received : TransferBytes();
  }

 private:
  static size_t TransferHere(uint64_t features, bool to_guest) {
    const auto memory = *GuestMemory::Create(32ULL << 20);
    const auto loop = *EventLoop::Create();
    EventLine line;
    NetDevice::Resources resources;
    resources.name = "net0";
    resources.backend = *TapBackend::Open("tap0", loop.get());
    resources.loop = loop.get();
    auto device = *NetDevice::Create(std::move(resources), {.mac = {2, 0, 0, 0, 0, 1}});
    const auto transport = *MmioTransport::Create({.name = "net0",
                                                   .device = std::move(device),
                                                   .memory = memory.get(),
                                                   .interrupt = &line,
                                                   .loop = loop.get(),
                                                   .kick_mode = KickMode::kLoop});
    FakeDriver driver(memory.get(), transport.get());
    driver.Start(features | kFeatureEventIndex);
    std::thread io([&] { EXPECT_TRUE(loop->Run()); });

    const UniqueFd listener = Socket();
    const sockaddr_in address = Server();
    EXPECT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
    EXPECT_EQ(::listen(listener.get(), 1), 0);
    size_t received = 0;
    std::thread guest([&] {
      InNetNamespace([&] {
        BridgingDriver bridge(&driver, &line, GuestTap(features));
        std::thread running([&] { bridge.Run(); });
        {
          const UniqueFd client = Socket();
          EXPECT_EQ(
              ::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
              0);
          if (to_guest) {
            received = Receive(client.get());
          } else {
            Send(client.get());
            ::shutdown(client.get(), SHUT_WR);
            uint8_t end = 0;
            (void)::recv(client.get(), &end, 1, 0);
          }
        }
        bridge.Stop();
        running.join();
      });
    });
    {
      const UniqueFd peer(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (to_guest) {
        Send(peer.get());
      } else {
        received = Receive(peer.get());
      }
    }
    guest.join();
    loop->Stop();
    io.join();
    return received;
  }
};

INSTANTIATE_TEST_SUITE_P(Features, NetTcpTest,
                         testing::Values(UINT64_MAX,
                                         net::kFeatureMergeableBuffers | net::kFeatureGuestCsum, 0),
                         [](const auto& features) {
                           return features.param == 0            ? "None"
                                  : features.param == UINT64_MAX ? "All"
                                                                 : "Mergeable";
                         });

TEST_P(NetTcpTest, EveryByteArrivesAtTheGuest) {
  EXPECT_EQ(Transfer(GetParam(), true), TransferBytes());
}

TEST_P(NetTcpTest, EveryByteArrivesAtTheHost) {
  EXPECT_EQ(Transfer(GetParam(), false), TransferBytes());
}

}  // namespace
}  // namespace mayfly
