#pragma once

#include <deque>
#include <optional>

#include "guest-init/handler_channel.h"
#include "guest-init/http_server.h"

namespace mayfly::init {

// The Lambda Runtime API (2018-06-01), as an HttpService. One invocation at a time.
//
//            first /next             Deliver + /next           /response, /error
//   kStarted ───────────▶ kWaiting ─────────────────▶ kRunning ────────┐
//    │    │ /init/error     ▲  ▲                                       │
//    │    ▼                 │  └───────────────────────────────────────┘
//    │  kFailed ◀──────┐    │ /next
//    │   /restore/error│    │
//    └▶ kRestorable ─▶ kRestoring
//  /restore/next   Restored
//
// A /next that comes early waits; so does one that comes while a response is still being sent,
// because real runtimes open it on a second connection before the first has ended.
class RuntimeApi final : public HttpService, public HandlerChannel {
 public:
  // Enough for any runtime: each waiting client holds one of the server's connections.
  // /restore/next is there only for a machine that will be snapshotted.
  RuntimeApi(EventLoop* loop, HandlerObserver* observer, bool snapshot)
      : observer_(observer), snapshot_(snapshot), server_(loop, this) {}

  Result<uint16_t> Listen(uint16_t port) { return server_.Listen(port); }
  HttpServer& server() { return server_; }

  void Deliver(const Invocation& invocation) override;
  [[nodiscard]] bool awaits_restore() const override { return state_ == State::kRestorable; }
  bool PrepareSnapshot() override;
  void Restored() override;
  void Drain() override {}

  Head OnHead(ConnectionId connection, const HttpRequest& request) override;
  void OnRequest(ConnectionId connection, HttpRequest request) override;
  HttpResponse OnBadBody(ConnectionId connection, const HttpRequest& request,
                         BadBody what) override;
  void OnClosed(ConnectionId connection) override;

 private:
  enum class State { kStarted, kRestorable, kRestoring, kWaiting, kRunning, kFailed };
  enum class Call {
    kNext,
    kResponse,
    kError,
    kInitError,
    kRestoreNext,
    kRestoreError,
    kPing,
    kUnknown,
  };

  // The call that a target names; for kResponse and kError with the request id in it.
  static Call CallOf(std::string_view target, std::string_view& request_id);
  [[nodiscard]] std::optional<HttpResponse> RefusalFor(Call call, std::string_view method,
                                                       std::string_view request_id,
                                                       const HttpRequest& request) const;
  [[nodiscard]] bool IsDue(Call call) const;
  void OnNext(ConnectionId connection);
  void OnRestoreNext(ConnectionId connection);
  void OnResponse(ConnectionId connection, HttpRequest request);
  void OnError(ConnectionId connection, Call call, HttpRequest request);
  // The runtime waits for us, and so does nothing.
  [[nodiscard]] bool at_rest() const;
  void TellIfPrepared();
  void DeliverToWaiting();
  [[nodiscard]] HttpResponse RenderEvent() const;

  HandlerObserver* observer_;
  const bool snapshot_;
  State state_ = State::kStarted;
  // What runs, or what waits for somebody to ask for it.
  std::optional<Invocation> invocation_;
  std::deque<ConnectionId> waiting_;
  // In /restore/next.
  std::deque<ConnectionId> restorable_;
  bool preparing_ = false;
  // The one connection whose body is being taken in: init never holds two answers.
  std::optional<ConnectionId> answering_;
  HttpServer server_;
};

// `type` as the Runtime API wants it, (Runtime|Function).Name, or its Unknown.
std::string NormalizedErrorType(std::string_view type);

}  // namespace mayfly::init
