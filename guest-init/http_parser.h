#pragma once

#include <http_parser.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "guest-init/http_message.h"

namespace mayfly::init {

// Cuts a byte stream into HTTP/1.1 requests, with libhttp_parser. What a client can
// make it hold is capped: kMaxHead for the request line with all header fields, the same again for
// trailers, and for the body what the owner allows once it has seen the head.
class HttpParser {
 public:
  static constexpr size_t kMaxHead = size_t{64} * 1024;

  // Called when the head is complete; answers how many bytes of body may be kept. A longer body is
  // read to its end and not kept.
  using HeadCallback = std::function<uint64_t(const HttpRequest&)>;

  enum class Status {
    kNeedMore,
    kComplete,  // request() is whole; Next() before more bytes are given
    kBad,       // error_status(); nothing more can be parsed
  };

  explicit HttpParser(HeadCallback on_head);
  HttpParser(const HttpParser&) = delete;
  HttpParser& operator=(const HttpParser&) = delete;

  // Takes bytes until a request is complete; `bytes` is what is left of them then.
  Status Advance(std::span<const uint8_t>& bytes);
  // Gets ready for the next request on the same connection.
  void Next();

  [[nodiscard]] HttpRequest& request() { return request_; }
  // The body is longer than allowed. Known as soon as a declared length says so.
  [[nodiscard]] bool oversized() const { return oversized_; }
  // Between the first byte of a request and its last.
  [[nodiscard]] bool in_request() const { return begun_ && !complete_; }
  [[nodiscard]] int error_status() const { return error_status_; }

 private:
  friend struct HttpParserCallbacks;
  bool AppendHead(std::string& to, const char* data, size_t size);
  int OnHeadComplete();
  void OnBody(const char* data, size_t size);

  HeadCallback on_head_;
  http_parser parser_{};
  HttpRequest request_;
  size_t head_bytes_ = 0;
  uint64_t body_limit_ = 0;
  bool begun_ = false;
  bool head_complete_ = false;
  bool in_value_ = false;
  bool oversized_ = false;
  bool complete_ = false;
  int error_status_ = 400;
};

}  // namespace mayfly::init
