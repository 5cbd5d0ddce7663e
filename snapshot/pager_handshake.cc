#include "snapshot/pager_handshake.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>

#include "base/arithmetic.h"
#include "base/json.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kPage = GuestMemory::kPageSize;

union Control {
  cmsghdr header;
  char bytes[CMSG_SPACE(sizeof(int))];
};

Result<PagedRegion> ParseRegion(const JsonValue& value, uint64_t image_bytes) {
  const JsonObject object = TRY(value.AsObject());
  const auto integer = [&](std::string_view key) -> Result<uint64_t> {
    const JsonValue member = TRY(object.Require(key));
    const uint64_t number = TRY(member.AsInteger(0, (1ULL << 53) - 1));
    if (!IsAligned(number, kPage)) return member.Refuse("not a multiple of 4096");
    return number;
  };
  PagedRegion region{};
  region.host = TRY(integer("base_host_virt_addr"));
  region.size = TRY(integer("size"));
  region.offset = TRY(integer("offset"));
  if (!RangeFits(region.offset, region.size, image_bytes)) {
    return value.Refuse(fmt::format("not within the {} bytes of the memory", image_bytes));
  }
  return region;
}

// What one recvmsg() has; a descriptor goes to `received`.
Result<void> ReceiveSome(int socket, ReceivedHandshake& received) {
  char bytes[PagerHandshake::kMostBytes];
  iovec part{bytes, sizeof(bytes)};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof(control);
  const ssize_t size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (size < 0) return FailErrno("recvmsg");
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
      header->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    received.uffd.Reset(fd);
  }
  if (size == 0) return Fail(ErrorCode::kCancelled, "the machine hung up");
  received.text.append(bytes, static_cast<size_t>(size));
  return {};
}

}  // namespace

std::string PagerHandshake::Encode() const {
  std::string text = "[";
  for (const PagedRegion& region : regions) {
    // page_size_kib is in bytes too: older handlers know no other key.
    text += fmt::format(
        "{}{{\"base_host_virt_addr\":{},\"size\":{},\"offset\":{},\"page_size\":{},"
        "\"page_size_kib\":{}{}}}",
        text.size() > 1 ? "," : "", region.host, region.size, region.offset, kPage, kPage,
        snapshot.empty() ? "" : fmt::format(",\"snapshot\":\"{}\"", snapshot));
  }
  return text + "]";
}

Result<PagerHandshake> PagerHandshake::Parse(std::string_view text, uint64_t image_bytes) {
  const JsonDocument document =
      TRY(JsonDocument::Parse(text, "regions", ErrorCode::kInvalidArgument));
  PagerHandshake handshake;
  const std::vector<JsonValue> regions = TRY(document.root().AsArray(kMostRegions));
  for (const JsonValue& value : regions) {
    handshake.regions.push_back(TRY(ParseRegion(value, image_bytes)));
    const JsonObject object = TRY(value.AsObject());
    const auto snapshot = object.Find("snapshot");
    if (snapshot) handshake.snapshot = TRY(snapshot->AsString());
  }
  return handshake;
}

Result<UniqueFd> ConnectToPager(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return Fail(ErrorCode::kInvalidArgument, path + ": too long for a socket");
  }
  path.copy(address.sun_path, path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return FailErrno("socket");
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("connect to " + path);
  }
  return socket;
}

Result<void> SendToPager(int socket, std::string_view handshake, int uffd) {
  std::string text(handshake);
  iovec part{text.data(), text.size()};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof(control);
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &uffd, sizeof(uffd));
  const ssize_t size = ::sendmsg(socket, &message, MSG_NOSIGNAL);
  if (size < 0) return FailErrno("send the descriptor");
  if (static_cast<size_t>(size) != text.size()) {
    return Fail(ErrorCode::kHost, "send the descriptor: only a part was sent");
  }
  return {};
}

Result<ReceivedHandshake> ReceiveFromMachine(int socket, std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + timeout;
  ReceivedHandshake received;
  while (received.text.empty() || received.text.back() != ']' || !received.uffd.valid()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Fail(ErrorCode::kTimeout, "the machine sent no descriptor and regions");
    if (received.text.size() >= PagerHandshake::kMostBytes) {
      return Fail(ErrorCode::kTooLarge, "the machine sent more than regions");
    }
    pollfd event{socket, POLLIN, 0};
    if (::poll(&event, 1, static_cast<int>(left)) > 0) TRY(ReceiveSome(socket, received));
  }
  return received;
}

}  // namespace mayfly
