#include "vmm/zygote/packet.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"

namespace mayfly {
namespace {

Result<Packet> Parse(std::span<const uint8_t> received) {
  Packet packet;
  if (received.size() < sizeof(packet.head)) {
    return Fail(ErrorCode::kGuest, "a packet without its head");
  }
  std::memcpy(&packet.head, received.data(), sizeof(packet.head));
  const auto rest = received.subspan(sizeof(packet.head));
  packet.bytes.assign(rest.begin(), rest.end());
  return packet;
}

std::span<const uint8_t> Cut(std::span<const uint8_t> bytes) {
  return bytes.first(std::min(bytes.size(), kMostPacketBytes));
}

using Buffer = std::array<uint8_t, sizeof(PacketHead) + kMostPacketBytes>;

}  // namespace

Result<std::pair<UniqueFd, UniqueFd>> MakePacketSockets() {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return FailErrno("socketpair");
  }
  return std::pair(UniqueFd(ends[0]), UniqueFd(ends[1]));
}

Result<void> SendPacket(int to, const PacketHead& head, std::span<const uint8_t> bytes,
                        std::span<const int> fds, bool wait) {
  const auto cut = Cut(bytes);
  std::array<iovec, 2> parts{{{const_cast<PacketHead*>(&head), sizeof(head)},
                              {const_cast<uint8_t*>(cut.data()), cut.size()}}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = parts.size();
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(kMostPacketFds * sizeof(int))> control{};
  if (fds.size() > kMostPacketFds) {
    return Fail(ErrorCode::kInvalidArgument, "too many descriptors for a packet");
  }
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
  }
  const int flags = MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT);
  while (::sendmsg(to, &message, flags) < 0) {
    if (errno != EINTR) return FailErrno("sendmsg");
  }
  return {};
}

Result<void> ReportToHost(int to, const Error& error) {
  return SendPacket(to, {PacketKind::kFailed, 0, {static_cast<uint64_t>(error.code())}},
                    AsBytes(error.message()), {}, false);
}

Result<std::optional<Packet>> ReceivePacket(int from) {
  Buffer buffer;
  iovec part{buffer.data(), buffer.size()};
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(kMostPacketFds * sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t count = 0;
  while ((count = ::recvmsg(from, &message, MSG_CMSG_CLOEXEC)) < 0) {
    // The other end was closed with packets of ours unread. That is said once, and then what it has
    // sent is still there.
    if (errno != EINTR && errno != ECONNRESET) return FailErrno("recvmsg");
  }
  std::vector<UniqueFd> fds;
  for (cmsghdr* rights = CMSG_FIRSTHDR(&message); rights != nullptr;
       rights = CMSG_NXTHDR(&message, rights)) {
    if (rights->cmsg_level != SOL_SOCKET || rights->cmsg_type != SCM_RIGHTS) continue;
    for (size_t at = CMSG_LEN(0); at + sizeof(int) <= rights->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const uint8_t*>(rights) + at, sizeof(fd));
      fds.emplace_back(fd);
    }
  }
  if (count == 0) return std::nullopt;
  Packet packet = TRY(Parse(std::span(buffer).first(static_cast<size_t>(count))));
  packet.fds = std::move(fds);
  return std::optional<Packet>(std::move(packet));
}

Result<void> WritePacket(int to, const PacketHead& head, std::span<const uint8_t> bytes) {
  const auto cut = Cut(bytes);
  Buffer buffer;
  std::memcpy(buffer.data(), &head, sizeof(head));
  std::ranges::copy(cut, buffer.begin() + sizeof(head));
  while (::write(to, buffer.data(), sizeof(head) + cut.size()) < 0) {
    if (errno != EINTR) return FailErrno("write");
  }
  return {};
}

Result<std::optional<Packet>> ReadPacket(int from) {
  Buffer buffer;
  ssize_t count = 0;
  while ((count = ::read(from, buffer.data(), buffer.size())) < 0) {
    if (errno != EINTR) return FailErrno("read");
  }
  if (count == 0) return std::nullopt;
  Packet packet = TRY(Parse(std::span(buffer).first(static_cast<size_t>(count))));
  return std::optional<Packet>(std::move(packet));
}

}  // namespace mayfly
