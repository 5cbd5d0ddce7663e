#include "guest-init/http_parser.h"

#include <algorithm>

namespace mayfly::init {

// libhttp_parser's callbacks, by which it hands over pieces of any size.
struct HttpParserCallbacks {
  static HttpParser& Self(http_parser* parser) { return *static_cast<HttpParser*>(parser->data); }

  static int OnBegin(http_parser* parser) {
    Self(parser).begun_ = true;
    return 0;
  }
  static int OnTarget(http_parser* parser, const char* data, size_t size) {
    HttpParser& self = Self(parser);
    return self.AppendHead(self.request_.target, data, size) ? 0 : 1;
  }
  static int OnField(http_parser* parser, const char* data, size_t size) {
    HttpParser& self = Self(parser);
    HttpFields& fields = self.head_complete_ ? self.request_.trailers : self.request_.headers;
    if (self.in_value_ || fields.empty()) {
      // A field costs more than its text: its two strings count too.
      self.head_bytes_ += 2 * sizeof(std::string);
      fields.emplace_back();
      self.in_value_ = false;
    }
    return self.AppendHead(fields.back().first, data, size) ? 0 : 1;
  }
  static int OnValue(http_parser* parser, const char* data, size_t size) {
    HttpParser& self = Self(parser);
    HttpFields& fields = self.head_complete_ ? self.request_.trailers : self.request_.headers;
    self.in_value_ = true;
    return self.AppendHead(fields.back().second, data, size) ? 0 : 1;
  }
  static int OnHeadComplete(http_parser* parser) { return Self(parser).OnHeadComplete(); }
  static int OnBody(http_parser* parser, const char* data, size_t size) {
    Self(parser).OnBody(data, size);
    return 0;
  }
  static int OnComplete(http_parser* parser) {
    HttpParser& self = Self(parser);
    self.complete_ = true;
    self.request_.keep_alive = ::http_should_keep_alive(parser) != 0;
    ::http_parser_pause(parser, 1);
    return 0;
  }

  static constexpr http_parser_settings Settings() {
    http_parser_settings settings{};
    settings.on_message_begin = &OnBegin;
    settings.on_url = &OnTarget;
    settings.on_header_field = &OnField;
    settings.on_header_value = &OnValue;
    settings.on_headers_complete = &OnHeadComplete;
    settings.on_body = &OnBody;
    settings.on_message_complete = &OnComplete;
    return settings;
  }
};

HttpParser::HttpParser(HeadCallback on_head) : on_head_(std::move(on_head)) { Next(); }

void HttpParser::Next() {
  ::http_parser_init(&parser_, HTTP_REQUEST);
  parser_.data = this;
  request_ = HttpRequest{};
  head_bytes_ = 0;
  body_limit_ = 0;
  begun_ = head_complete_ = in_value_ = oversized_ = complete_ = false;
}

HttpParser::Status HttpParser::Advance(std::span<const uint8_t>& bytes) {
  static constexpr http_parser_settings kSettings = HttpParserCallbacks::Settings();
  if (bytes.empty()) return Status::kNeedMore;
  const size_t taken = ::http_parser_execute(
      &parser_, &kSettings, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  bytes = bytes.subspan(std::min(taken, bytes.size()));
  if (complete_) return Status::kComplete;
  const auto error = HTTP_PARSER_ERRNO(&parser_);
  // An upgrade was refused in OnHeadComplete(), except for CONNECT, which no part of us speaks.
  if (error == HPE_OK && parser_.upgrade == 0) return Status::kNeedMore;
  if (error == HPE_HEADER_OVERFLOW) error_status_ = 431;
  return Status::kBad;
}

bool HttpParser::AppendHead(std::string& to, const char* data, size_t size) {
  head_bytes_ += size;
  if (head_bytes_ > kMaxHead) {
    error_status_ = 431;
    return false;
  }
  to.append(data, size);
  return true;
}

int HttpParser::OnHeadComplete() {
  head_complete_ = true;
  in_value_ = false;
  head_bytes_ = 0;
  request_.method = ::http_method_str(static_cast<http_method>(parser_.method));
  if (parser_.http_major != 1 || parser_.method == HTTP_CONNECT) return -1;
  for (auto& [name, value] : request_.headers) {
    // Debian's build of the library is lenient about this one.
    if (name.find(' ') != std::string::npos) return -1;
    value.erase(value.find_last_not_of(" \t") + 1);
  }
  parser_.upgrade = 0;
  body_limit_ = on_head_(request_);
  constexpr uint64_t kNoLength = ~uint64_t{0};
  if (parser_.content_length != kNoLength && (parser_.flags & F_CONTENTLENGTH) != 0) {
    oversized_ = parser_.content_length > body_limit_;
    if (!oversized_) request_.body.reserve(static_cast<size_t>(parser_.content_length));
  }
  return 0;
}

void HttpParser::OnBody(const char* data, size_t size) {
  if (oversized_) return;
  if (size > body_limit_ - request_.body.size()) {
    oversized_ = true;
    request_.body = {};
    return;
  }
  request_.body.insert(request_.body.end(), data, data + size);
}

}  // namespace mayfly::init
