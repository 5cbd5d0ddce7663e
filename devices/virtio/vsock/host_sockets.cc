#include "devices/virtio/vsock/host_sockets.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/check.h"
#include "devices/virtio/vsock/connect_request.h"
#include "devices/virtio/vsock/unix_stream.h"

namespace mayfly {

HostSockets::HostSockets(std::unique_ptr<HostEndpoint> endpoint, PortPolicy policy, EventLoop* loop,
                         bool filtered, LogSink* log)
    : endpoint_(std::move(endpoint)),
      policy_(std::move(policy)),
      loop_(loop),
      closing_(filtered ? UnixStream::Closing::kOnLoop : UnixStream::Closing::kAtOnce),
      log_(log, "vsock socket") {}

HostSockets::~HostSockets() {
  if (pause_ != 0) loop_->Cancel(pause_);
  while (!clients_.empty()) Drop(clients_.begin()->first);
  if (watch_ != 0) loop_->Remove(watch_);
}

Result<void> HostSockets::Serve(VsockDevice* device) {
  vsock_ = device;
  TRY(endpoint_->Listen());
  watch_ = TRY(loop_->Watch(endpoint_->listener(), EPOLLIN, [this](uint32_t) { AcceptClient(); }));
  return {};
}

Result<std::unique_ptr<VsockStream>> HostSockets::Accept(uint32_t host_port) {
  if (!Allows(policy_, host_port)) return Fail(ErrorCode::kGuest, "the port is not allowed");
  UniqueFd socket = TRY(endpoint_->Connect(host_port));
  return std::make_unique<UnixStream>(std::move(socket), loop_, closing_);
}

void HostSockets::AcceptClient() {
  Result<UniqueFd> socket = endpoint_->Accept();
  if (!socket) {
    const int error = socket.error().errno_value();
    if (error != EAGAIN && error != EINTR && error != ECONNABORTED) PauseAccepting(socket.error());
    return;
  }
  const uint64_t id = next_client_++;
  const auto watch =
      loop_->Watch(socket->get(), EPOLLIN, [this, id](uint32_t) { ReadRequest(id); });
  if (!watch) return;
  const auto timer = loop_->After(kRequestTimeout, [this, id] { Drop(id); });
  clients_.emplace(id, Client{*std::move(socket), "", *watch, timer});
  if (clients_.size() >= kMaxPending) UpdateListener();
}

void HostSockets::PauseAccepting(const Error& reason) {
  log_.Warn("{}", reason.message());
  pause_ = loop_->After(kAcceptPause, [this] {
    pause_ = 0;
    UpdateListener();
  });
  UpdateListener();
}

void HostSockets::UpdateListener() {
  const bool accept = pause_ == 0 && clients_.size() < kMaxPending;
  CHECK(loop_->Modify(watch_, accept ? uint32_t{EPOLLIN} : 0U));
}

void HostSockets::ReadRequest(uint64_t id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  Client& client = found->second;
  // Byte by byte: what follows the newline belongs to the guest.
  while (true) {
    char byte = 0;
    iovec piece{&byte, 1};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    // As streams do, for whoever may make few system calls.
    const ssize_t count = ::recvmsg(client.socket.get(), &message, MSG_DONTWAIT);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) return Drop(id);
    if (byte == '\n') break;
    if (client.request.size() == kMaxRequest) return Drop(id);
    client.request += byte;
  }
  const std::optional<uint32_t> port = ParseConnectRequest(client.request);
  if (!port) return Drop(id);
  HandOver(id, *port);
}

void HostSockets::HandOver(uint64_t id, uint32_t guest_port) {
  const auto found = clients_.find(id);
  UniqueFd socket = std::move(found->second.socket);
  loop_->Remove(found->second.watch);
  found->second.watch = 0;
  Drop(id);
  auto stream = std::make_unique<UnixStream>(std::move(socket), loop_, closing_);
  // If the guest refuses, the stream goes, and with it the client's connection.
  vsock_->Connect(guest_port, std::move(stream), [](uint32_t host_port, VsockStream& connected) {
    const std::string answer = fmt::format("OK {}\n", host_port);
    const iovec piece{const_cast<char*>(answer.data()), answer.size()};
    // Nothing was written before, so there is room for this. A client that has gone already is
    // found by the stream's next event.
    IgnoreFailure(connected.Write({&piece, 1}));
  });
}

void HostSockets::Drop(uint64_t id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  if (found->second.watch != 0) loop_->Remove(found->second.watch);
  loop_->Cancel(found->second.timer);
  clients_.erase(found);
  if (clients_.size() == kMaxPending - 1) UpdateListener();
}

}  // namespace mayfly
