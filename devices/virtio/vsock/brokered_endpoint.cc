#include "devices/virtio/vsock/brokered_endpoint.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

#include "devices/virtio/vsock/endpoint_messages.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;
using endpoint::Answer;
using endpoint::Request;
using endpoint::Want;

Result<void> Send(int to, Request request) {
  iovec piece{&request, sizeof(request)};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (::sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return FailErrno("broker");
  return {};
}

Result<void> WaitFor(int fd, Clock::time_point until) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
  pollfd event{fd, POLLIN, 0};
  const int ready = ::poll(&event, 1, static_cast<int>(std::max<int64_t>(left, 0)));
  if (ready < 0 && errno != EINTR) return FailErrno("broker");
  if (ready == 0) return FailErrno("broker", ETIMEDOUT);
  return {};
}

struct Received {
  Answer answer{};
  UniqueFd socket{};
};

Result<Received> Receive(int from) {
  Received received;
  iovec piece{&received.answer, sizeof(received.answer)};
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0) return FailErrno("broker");
  if (count != sizeof(received.answer)) return FailErrno("broker", EPIPE);
  const cmsghdr* const header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    received.socket = UniqueFd(fd);
  }
  return received;
}

Result<UniqueFd> Ask(int broker, Request request) {
  TRY(Send(broker, request));
  const Clock::time_point until = Clock::now() + BrokeredEndpoint::kPatience;
  while (true) {
    TRY(WaitFor(broker, until));
    Result<Received> received = Receive(broker);
    if (!received &&
        (received.error().errno_value() == EAGAIN || received.error().errno_value() == EINTR)) {
      continue;
    }
    if (!received) return std::unexpected(std::move(received).error());
    // Nobody waits any more for what came too late: it goes.
    if (received->answer.number != request.number) continue;
    if (received->answer.error != 0) return FailErrno("broker", received->answer.error);
    // The kernel drops what finds no free descriptor.
    if (!received->socket.valid()) return FailErrno("broker", EMFILE);
    return std::move(received->socket);
  }
}

}  // namespace

Result<UniqueFd> BrokeredEndpoint::Accept() {
  return Ask(broker_.get(), {++number_, Want::kClient, 0});
}

Result<UniqueFd> BrokeredEndpoint::Connect(uint32_t port) {
  return Ask(broker_.get(), {++number_, Want::kConnection, port});
}

}  // namespace mayfly
