#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "base/event_loop.h"
#include "base/unique_fd.h"
#include "guest-init/http_parser.h"

namespace mayfly::init {

using ConnectionId = uint64_t;

// What serves the requests. Calls come on the loop's thread. Every request whose head was accepted
// ends in exactly one of OnRequest(), OnBadBody() and OnClosed().
class HttpService {
 public:
  struct Head {
    uint64_t body_limit = 0;
    // Set: the answer, sent at once; the body is read and thrown away.
    std::optional<HttpResponse> refusal;
  };
  virtual ~HttpService() = default;
  virtual Head OnHead(ConnectionId connection, const HttpRequest& request) = 0;
  // To be answered with HttpServer::Respond(), now or later.
  virtual void OnRequest(ConnectionId connection, HttpRequest request) = 0;
  enum class BadBody { kTooLong, kTruncated };
  virtual HttpResponse OnBadBody(ConnectionId connection, const HttpRequest& request,
                                 BadBody what) = 0;
  virtual void OnClosed(ConnectionId connection) = 0;
};

// One client. Owned by HttpServer; one request at a time, further ones wait in the socket. Buffers
// at most kReadSize bytes beside what the parser holds.
class HttpConnection {
 public:
  static constexpr size_t kReadSize = size_t{16} * 1024;

  HttpConnection(ConnectionId id, UniqueFd socket, EventLoop* loop, HttpService* service,
                 std::function<void(ConnectionId)> closed);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  Result<void> Start();
  void Respond(const HttpResponse& response);

 private:
  uint64_t OnHead(const HttpRequest& request);
  void OnEvents(uint32_t events);
  void Read();
  void Advance();
  [[nodiscard]] bool WantsInput() const;
  void Parse();
  void OnComplete();
  void OnBadRequest();
  void Queue(const HttpResponse& response);
  void Flush();
  void UpdateInterest();
  void Close();

  // A refused request is answered in kReading, while its body still comes in.
  enum class State {
    kReading,    // a request, or waiting for one
    kAnswering,  // a whole request is with the service, until Respond()
    kClosed,
  };

  const ConnectionId id_;
  UniqueFd socket_;
  EventLoop* loop_;
  HttpService* service_;
  std::function<void(ConnectionId)> closed_;
  HttpParser parser_;
  EventLoop::WatchId watch_ = 0;
  State state_ = State::kReading;
  bool answered_early_ = false;
  bool close_after_ = false;
  bool parsing_ = false;
  uint32_t interest_ = EPOLLIN;
  std::vector<uint8_t> input_;
  size_t input_taken_ = 0;
  std::string output_;
  std::shared_ptr<const std::vector<uint8_t>> output_body_;
  size_t output_sent_ = 0;
};

}  // namespace mayfly::init
