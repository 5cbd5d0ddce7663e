#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mayfly::init {

using HttpFields = std::vector<std::pair<std::string, std::string>>;

struct HttpRequest {
  std::string method;
  std::string target;
  HttpFields headers;
  HttpFields trailers;
  std::vector<uint8_t> body;
  bool keep_alive = true;

  // The first header of this name, in any case; empty if there is none.
  [[nodiscard]] std::string_view Header(std::string_view name) const;
  [[nodiscard]] std::string_view Trailer(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type;
  HttpFields headers;
  std::string text;
  // Sent instead of `text` if set. Shared, because a handler may ask for the same event on several
  // connections, and init must not hold six megabytes for each.
  std::shared_ptr<const std::vector<uint8_t>> body;
  bool close = false;
};

// {"status":"OK"} and {"errorMessage":…,"errorType":…}, the only two shapes of text that the
// Runtime API answers with.
HttpResponse StatusOk(int status);
HttpResponse ErrorResponse(int status, std::string_view type, std::string_view message);

// The status line and the headers, with the blank line.
std::string RenderHead(const HttpResponse& response, bool keep_alive);

}  // namespace mayfly::init
