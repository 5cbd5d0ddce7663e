#include "devices/virtio/vsock/connect_request.h"

#include <charconv>
#include <memory>

namespace mayfly {

std::optional<uint32_t> ParseConnectRequest(std::string_view request) {
  constexpr std::string_view kConnect = "CONNECT ";
  if (!request.starts_with(kConnect)) return std::nullopt;
  request.remove_prefix(kConnect.size());
  const char* const end = std::to_address(request.end());
  uint32_t port = 0;
  const auto parsed = std::from_chars(std::to_address(request.begin()), end, port);
  if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
  return port;
}

}  // namespace mayfly
