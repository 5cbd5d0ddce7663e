#include "devices/virtio/vsock/host_sockets.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstring>

#include "base/check.h"
#include "devices/virtio/vsock/connect_request.h"
#include "devices/virtio/vsock/unix_stream.h"

namespace mayfly {
namespace {

// "_4294967295"
constexpr size_t kPortSuffix = 11;

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  CHECK(path.size() < sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Result<UniqueFd> ConnectTo(const std::string& path) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.valid()) return FailErrno("socket");
  const sockaddr_un address = AddressOf(path);
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("connect to " + path);
  }
  return socket;
}

// Makes way for a new socket: what is there goes if it is a socket that nobody listens on.
Result<void> RemoveStaleSocket(const std::string& path) {
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return FailErrno(path);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, path + ": is there, and is no socket");
  }
  const Result<UniqueFd> other = ConnectTo(path);
  if (other || other.error().errno_value() != ECONNREFUSED) {
    return Fail(ErrorCode::kInvalidArgument, path + ": is in use by another process");
  }
  if (::unlink(path.c_str()) != 0) return FailErrno("remove " + path);
  return {};
}

}  // namespace

Result<std::unique_ptr<HostSockets>> HostSockets::Create(const std::string& path, PortPolicy policy,
                                                         EventLoop* loop, LogSink* log) {
  if (path.size() + kPortSuffix >= sizeof(sockaddr_un::sun_path)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: a socket's path has at most {} bytes, so that \"_PORT\" fits "
                            "behind it; this has {}",
                            path, sizeof(sockaddr_un::sun_path) - kPortSuffix - 1, path.size()));
  }
  TRY(RemoveStaleSocket(path));
  UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener.valid()) return FailErrno("socket");
  const sockaddr_un address = AddressOf(path);
  if (::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("bind " + path);
  }
  std::unique_ptr<HostSockets> self(
      new HostSockets(path, std::move(policy), std::move(listener), loop, log));
  struct stat status{};
  if (::lstat(path.c_str(), &status) != 0) return FailErrno(path);
  self->device_ = status.st_dev;
  self->inode_ = status.st_ino;
  return self;
}

HostSockets::~HostSockets() {
  if (pause_ != 0) loop_->Cancel(pause_);
  while (!clients_.empty()) Drop(clients_.begin()->first);
  if (watch_ != 0) loop_->Remove(watch_);
  struct stat status{};
  if (::lstat(path_.c_str(), &status) == 0 && status.st_dev == device_ && status.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
}

Result<void> HostSockets::Serve(VsockDevice* device) {
  vsock_ = device;
  if (::listen(listener_.get(), kListenBacklog) != 0) return FailErrno("listen on " + path_);
  watch_ = TRY(loop_->Watch(listener_.get(), EPOLLIN, [this](uint32_t) { AcceptClient(); }));
  return {};
}

Result<std::unique_ptr<VsockStream>> HostSockets::Accept(uint32_t host_port) {
  if (!Allows(policy_, host_port)) return Fail(ErrorCode::kGuest, "the port is not allowed");
  UniqueFd socket = TRY(ConnectTo(fmt::format("{}_{}", path_, host_port)));
  return TRY(UnixStream::Create(std::move(socket), loop_));
}

void HostSockets::AcceptClient() {
  UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) {
    if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) PauseAccepting();
    return;
  }
  const uint64_t id = next_client_++;
  const auto watch = loop_->Watch(socket.get(), EPOLLIN, [this, id](uint32_t) { ReadRequest(id); });
  if (!watch) return;
  const auto timer = loop_->After(kRequestTimeout, [this, id] { Drop(id); });
  clients_.emplace(id, Client{std::move(socket), "", *watch, timer});
  if (clients_.size() >= kMaxPending) UpdateListener();
}

void HostSockets::PauseAccepting() {
  log_.Warn("{}", FailErrno("accept on " + path_).error().message());
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
    const ssize_t count = ::recv(client.socket.get(), &byte, 1, 0);
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
  auto stream = UnixStream::Create(std::move(socket), loop_);
  if (!stream) return;
  // If the guest refuses, the stream goes, and with it the client's connection.
  vsock_->Connect(guest_port, *std::move(stream), [](uint32_t host_port, VsockStream& connected) {
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
