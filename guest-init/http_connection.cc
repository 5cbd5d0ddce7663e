#include "guest-init/http_connection.h"

#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>

namespace mayfly::init {

HttpConnection::HttpConnection(ConnectionId id, UniqueFd socket, EventLoop* loop,
                               HttpService* service, std::function<void(ConnectionId)> closed)
    : id_(id),
      socket_(std::move(socket)),
      loop_(loop),
      service_(service),
      closed_(std::move(closed)),
      parser_([this](const HttpRequest& request) { return OnHead(request); }) {}

HttpConnection::~HttpConnection() {
  if (watch_ != 0) loop_->Remove(watch_);
}

Result<void> HttpConnection::Start() {
  watch_ =
      TRY(loop_->Watch(socket_.get(), interest_, [this](uint32_t events) { OnEvents(events); }));
  return {};
}

uint64_t HttpConnection::OnHead(const HttpRequest& request) {
  HttpService::Head head = service_->OnHead(id_, request);
  const std::string expect(request.Header("Expect"));
  const bool expects = ::strcasecmp(expect.c_str(), "100-continue") == 0;
  if (head.refusal) {
    answered_early_ = true;
    // A client that was told no does not send the body that it announced.
    if (expects) close_after_ = true;
    Queue(*head.refusal);
    return 0;
  }
  if (expects) output_ += "HTTP/1.1 100 Continue\r\n\r\n";
  return head.body_limit;
}

void HttpConnection::OnEvents(uint32_t events) {
  if (state_ == State::kClosed) return;
  if (state_ == State::kAnswering) {
    // Nobody is there to take the answer any more.
    if ((events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP)) != 0) return Close();
  } else if ((events & ~uint32_t{EPOLLOUT}) != 0 && WantsInput()) {
    Read();
  }
  Advance();
}

void HttpConnection::Read() {
  if (input_taken_ < input_.size()) return;
  input_.resize(kReadSize);
  input_taken_ = 0;
  const ssize_t count = ::recv(socket_.get(), input_.data(), input_.size(), MSG_DONTWAIT);
  const int error = errno;
  input_.resize(count > 0 ? static_cast<size_t>(count) : 0);
  if (count > 0 || (count < 0 && (error == EAGAIN || error == EINTR))) return;
  if (count < 0 || !parser_.in_request()) return Close();
  // The client may have closed only its own direction: it gets an answer.
  close_after_ = true;
  if (!answered_early_) {
    Queue(service_->OnBadBody(id_, parser_.request(), HttpService::BadBody::kTruncated));
  }
}

void HttpConnection::Advance() {
  do {
    Parse();
    Flush();
  } while (state_ == State::kReading && output_.empty() && input_taken_ < input_.size());
  if (state_ != State::kClosed) UpdateInterest();
}

// While an answer is on its way out no further request is taken in: a client that sends requests
// and takes no answers gets no further.
bool HttpConnection::WantsInput() const {
  return state_ == State::kReading && !close_after_ && (output_.empty() || parser_.in_request());
}

void HttpConnection::Parse() {
  parsing_ = true;
  while (WantsInput() && input_taken_ < input_.size()) {
    std::span<const uint8_t> rest = std::span(input_).subspan(input_taken_);
    const HttpParser::Status status = parser_.Advance(rest);
    input_taken_ = input_.size() - rest.size();
    if (status == HttpParser::Status::kBad) {
      OnBadRequest();
      break;
    }
    if (parser_.oversized() && !answered_early_) {
      answered_early_ = true;
      Queue(service_->OnBadBody(id_, parser_.request(), HttpService::BadBody::kTooLong));
    }
    if (status == HttpParser::Status::kComplete) OnComplete();
  }
  parsing_ = false;
}

void HttpConnection::OnComplete() {
  HttpRequest request = std::move(parser_.request());
  if (!request.keep_alive) close_after_ = true;
  parser_.Next();
  if (answered_early_) {
    answered_early_ = false;
    return;
  }
  state_ = State::kAnswering;
  service_->OnRequest(id_, std::move(request));
}

void HttpConnection::OnBadRequest() {
  close_after_ = true;
  if (!answered_early_) {
    Queue(ErrorResponse(parser_.error_status(), "InvalidRequest", "not a valid HTTP request"));
  }
}

void HttpConnection::Respond(const HttpResponse& response) {
  if (state_ != State::kAnswering) return;
  state_ = State::kReading;
  Queue(response);
  if (!parsing_) Advance();
}

void HttpConnection::Queue(const HttpResponse& response) {
  if (response.close) close_after_ = true;
  output_ += RenderHead(response, !close_after_);
  if (response.body) {
    output_body_ = response.body;
  } else {
    output_ += response.text;
  }
}

void HttpConnection::Flush() {
  while (state_ != State::kClosed && !output_.empty()) {
    const size_t body_size = output_body_ ? output_body_->size() : 0;
    const size_t head_left = output_sent_ < output_.size() ? output_.size() - output_sent_ : 0;
    const size_t body_sent = output_sent_ - (output_.size() - head_left);
    std::array<iovec, 2> pieces{
        iovec{output_.data() + output_.size() - head_left, head_left},
        iovec{body_size == 0 ? nullptr : const_cast<uint8_t*>(output_body_->data()) + body_sent,
              body_size - body_sent}};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = pieces.size();
    const ssize_t count = ::sendmsg(socket_.get(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) break;
    if (count < 0) return Close();
    output_sent_ += static_cast<size_t>(count);
    if (output_sent_ == output_.size() + body_size) {
      output_.clear();
      output_body_.reset();
      output_sent_ = 0;
    }
  }
  if (state_ == State::kReading && output_.empty() && close_after_) Close();
}

void HttpConnection::UpdateInterest() {
  uint32_t events = 0;
  if (state_ == State::kAnswering) events |= EPOLLRDHUP;
  if (!output_.empty()) events |= EPOLLOUT;
  if (WantsInput()) events |= EPOLLIN;
  // Can fail only for a watch that does not exist.
  if (events != interest_ && loop_->Modify(watch_, events)) interest_ = events;
}

void HttpConnection::Close() {
  if (state_ == State::kClosed) return;
  state_ = State::kClosed;
  loop_->Remove(watch_);
  watch_ = 0;
  service_->OnClosed(id_);
  closed_(id_);
}

}  // namespace mayfly::init
