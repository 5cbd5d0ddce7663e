#include "guest-init/http_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace mayfly::init {

HttpServer::~HttpServer() {
  if (watch_ != 0) loop_->Remove(watch_);
}

Result<uint16_t> HttpServer::Listen(uint16_t port) {
  listener_.Reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.valid()) return FailErrno("Runtime API: socket");
  const int on = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) != 0 ||
      ::listen(listener_.get(), static_cast<int>(kMaxConnections)) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return FailErrno("Runtime API: port " + std::to_string(port));
  }
  watch_ = TRY(loop_->Watch(listener_.get(), EPOLLIN, [this](uint32_t) { AcceptAll(); }));
  return ntohs(address.sin_port);
}

void HttpServer::AcceptAll() {
  while (true) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.valid()) return;
    const int on = 1;
    ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    // A client above the limit sees its connection closed.
    if (connections_.size() < kMaxConnections) IgnoreFailure(Adopt(std::move(socket)));
  }
}

Result<void> HttpServer::Adopt(UniqueFd socket) {
  const ConnectionId id = next_id_++;
  // Erased later: the connection's own code is still running when it says that it is closed.
  const auto closed = [this](ConnectionId which) {
    loop_->Post([this, which] { connections_.erase(which); });
  };
  auto connection =
      std::make_unique<HttpConnection>(id, std::move(socket), loop_, service_, closed);
  TRY(connection->Start());
  connections_.emplace(id, std::move(connection));
  return {};
}

void HttpServer::Respond(ConnectionId connection, const HttpResponse& response) {
  const auto found = connections_.find(connection);
  if (found != connections_.end()) found->second->Respond(response);
}

}  // namespace mayfly::init
