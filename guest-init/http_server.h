#pragma once

#include <cstdint>
#include <map>
#include <memory>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "guest-init/http_connection.h"

namespace mayfly::init {

// Accepts HTTP clients on a port of the loopback interface and hands their requests to a service.
// `loop` and `service` must outlive it; everything happens on the loop's thread.
class HttpServer {
 public:
  // More clients than any runtime has; the next one is turned away. Bounds what a handler that
  // opens connections can make init hold.
  static constexpr size_t kMaxConnections = 32;

  HttpServer(EventLoop* loop, HttpService* service) : loop_(loop), service_(service) {}
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Port 0 takes a free one. Returns the port.
  Result<uint16_t> Listen(uint16_t port);
  // Serves a client that is connected already.
  Result<void> Adopt(UniqueFd socket);
  void Respond(ConnectionId connection, const HttpResponse& response);

 private:
  void AcceptAll();

  EventLoop* loop_;
  HttpService* service_;
  UniqueFd listener_;
  EventLoop::WatchId watch_ = 0;
  ConnectionId next_id_ = 1;
  std::map<ConnectionId, std::unique_ptr<HttpConnection>> connections_;
};

}  // namespace mayfly::init
