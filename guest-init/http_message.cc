#include "guest-init/http_message.h"

#include <strings.h>

#include "guest-init/json.h"

namespace mayfly::init {
namespace {

std::string_view Find(const HttpFields& fields, std::string_view name) {
  for (const auto& [key, value] : fields) {
    if (key.size() == name.size() && ::strncasecmp(key.data(), name.data(), name.size()) == 0) {
      return value;
    }
  }
  return {};
}

std::string_view Reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 202:
      return "Accepted";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 405:
      return "Method Not Allowed";
    case 413:
      return "Request Entity Too Large";
    case 431:
      return "Request Header Fields Too Large";
    case 503:
      return "Service Unavailable";
    default:
      return "Error";
  }
}

}  // namespace

std::string_view HttpRequest::Header(std::string_view name) const { return Find(headers, name); }
std::string_view HttpRequest::Trailer(std::string_view name) const { return Find(trailers, name); }

HttpResponse StatusOk(int status) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  response.text = "{\"status\":\"OK\"}\n";
  return response;
}

HttpResponse ErrorResponse(int status, std::string_view type, std::string_view message) {
  HttpResponse response;
  response.status = status;
  response.content_type = "application/json";
  JsonWriter json;
  json.String("errorMessage", message);
  json.String("errorType", type);
  response.text = json.Finish() + "\n";
  return response;
}

std::string RenderHead(const HttpResponse& response, bool keep_alive) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head += Reason(response.status);
  head += "\r\n";
  if (!response.content_type.empty()) head += "Content-Type: " + response.content_type + "\r\n";
  for (const auto& [name, value] : response.headers) {
    head.append(name).append(": ").append(value).append("\r\n");
  }
  const size_t size = response.body ? response.body->size() : response.text.size();
  head += "Content-Length: " + std::to_string(size) + "\r\n";
  if (!keep_alive) head += "Connection: close\r\n";
  return head + "\r\n";
}

}  // namespace mayfly::init
