#include "tests/bench/host_net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "tests/support/net_namespace.h"

namespace mayfly {
namespace {

constexpr size_t kVirtioHeader = 12;
constexpr unsigned kBatch = 32;

// For experiments (IEEE 802), so that no protocol of the host's takes it.
std::vector<uint8_t> FrameOf(size_t size) {
  std::vector<uint8_t> frame(size, 0x5a);
  std::fill_n(frame.begin(), 6, uint8_t{0xff});
  std::fill_n(frame.begin() + 6, 6, uint8_t{0x04});
  frame[12] = 0x88;
  frame[13] = 0xb5;
  return frame;
}

Result<UniqueFd> OpenTap(const std::string& name) {
  UniqueFd tap = TRY(OpenFile("/dev/net/tun", O_RDWR | O_NONBLOCK));
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR;
  if (::ioctl(tap.get(), TUNSETIFF, &request) != 0) return FailErrno(name);
  int size = kVirtioHeader;
  if (::ioctl(tap.get(), TUNSETVNETHDRSZ, &size) != 0) return FailErrno(name);
  return tap;
}

UniqueFd PacketSocketOf(const std::string& interface) {
  UniqueFd socket(::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  CHECK(socket.valid());
  const int on = 1;
  (void)::setsockopt(socket.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on));
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(::if_nametoindex(interface.c_str()));
  CHECK(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  return socket;
}

}  // namespace

Result<void> AddTap(const std::string& name) {
  if (Ip("tuntap add " + name + " mode tap") && Ip("link set " + name + " up")) return {};
  return Fail(ErrorCode::kPermission, "a tap needs root");
}

Result<Measurement> MeasureTapWrite(const std::string& tap, size_t frame, double seconds) {
  const UniqueFd fd = TRY(OpenTap(tap));
  std::array<uint8_t, kVirtioHeader> header{};
  std::vector<uint8_t> bytes = FrameOf(frame);
  const std::array<iovec, 2> pieces{{{header.data(), header.size()}, {bytes.data(), frame}}};
  Stopwatch watch(seconds);
  while (watch.running()) {
    for (unsigned i = 0; i < kBatch; ++i) {
      if (::writev(fd.get(), pieces.data(), pieces.size()) < 0) return FailErrno("write a frame");
      watch.Count(frame);
    }
  }
  return watch.Stop();
}

Result<Measurement> MeasureTapRead(const std::string& tap, size_t frame, double seconds) {
  const UniqueFd fd = TRY(OpenTap(tap));
  const Flood flood(tap, frame);
  std::vector<uint8_t> bytes(70'000);
  Stopwatch watch(seconds);
  while (watch.running()) {
    pollfd readable{fd.get(), POLLIN, 0};
    (void)::poll(&readable, 1, 100);
    for (unsigned i = 0; i < 2 * kBatch && ::read(fd.get(), bytes.data(), bytes.size()) > 0; ++i) {
      watch.Count(frame);
    }
  }
  return watch.Stop();
}

Flood::Flood(const std::string& interface, size_t frame)
    : thread_([socket = PacketSocketOf(interface),
               bytes = FrameOf(frame)](const std::stop_token& stop) mutable {
        iovec piece{bytes.data(), bytes.size()};
        std::array<mmsghdr, kBatch> messages{};
        for (mmsghdr& message : messages) {
          message.msg_hdr.msg_iov = &piece;
          message.msg_hdr.msg_iovlen = 1;
        }
        // What does not fit is lost.
        while (!stop.stop_requested()) {
          (void)::sendmmsg(socket.get(), messages.data(), messages.size(), 0);
        }
      }) {}

}  // namespace mayfly
