#include "devices/virtio/vsock/endpoint_broker.h"

#include <sys/socket.h>

#include <array>
#include <cstring>

#include "devices/virtio/vsock/endpoint_messages.h"

namespace mayfly {
namespace {

using endpoint::Answer;
using endpoint::Request;
using endpoint::Want;

// A machine that does not take its answers goes without them.
void Send(int to, Answer answer, int socket) {
  iovec piece{&answer, sizeof(answer)};
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control{};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (socket >= 0) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* const header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(socket));
    std::memcpy(CMSG_DATA(header), &socket, sizeof(socket));
  }
  ::sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

}  // namespace

Result<std::unique_ptr<EndpointBroker>> EndpointBroker::Create(const std::string& path,
                                                               PortPolicy policy) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return FailErrno("socketpair");
  }
  UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  auto endpoint = TRY(UnixEndpoint::Create(path));
  TRY(endpoint->Listen());
  return std::unique_ptr<EndpointBroker>(new EndpointBroker(std::move(endpoint), std::move(policy),
                                                            std::move(ours), std::move(theirs)));
}

bool EndpointBroker::CountIn(Clock::time_point now) {
  if (now - second_ >= std::chrono::seconds(1)) {
    second_ = now;
    count_ = 0;
  }
  return ++count_ <= kMostInASecond;
}

bool EndpointBroker::Serve(Clock::time_point now) {
  Request request{};
  const ssize_t size = ::recv(ours_.get(), &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
  if (size < 0) return errno == EAGAIN || errno == EINTR;
  if (size != sizeof(request)) return false;
  Result<UniqueFd> socket = FailErrno("broker", EACCES);
  if (!CountIn(now)) {
    socket = FailErrno("broker", EBUSY);
  } else if (request.want == Want::kClient) {
    socket = endpoint_->Accept();
  } else if (request.want == Want::kConnection && Allows(policy_, request.port)) {
    socket = endpoint_->Connect(request.port);
  }
  Send(ours_.get(), {request.number, socket ? 0 : socket.error().errno_value(), 0},
       socket ? socket->get() : -1);
  return true;
}

}  // namespace mayfly
