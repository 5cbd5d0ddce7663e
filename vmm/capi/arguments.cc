#include "vmm/capi/arguments.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <utility>

namespace mayfly::capi {

Result<std::string> ReadText(const char* text, std::string_view what) {
  if (text == nullptr) return std::string();
  const size_t length = ::strnlen(text, PATH_MAX);
  if (length == PATH_MAX) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: longer than {} bytes", what, PATH_MAX - 1));
  }
  return std::string(text, length);
}

Result<std::string> ReadPath(const char* text, std::string_view what) {
  std::string path = TRY(ReadText(text, what));
  if (path.empty()) return Fail(ErrorCode::kInvalidArgument, fmt::format("{}: missing", what));
  return path;
}

Result<UniqueFd> DuplicateOrNone(int fd) {
  if (fd < 0) return UniqueFd();
  UniqueFd duplicate(::fcntl(fd, F_DUPFD_CLOEXEC, 3));
  if (!duplicate.valid()) {
    return Fail(ErrorCode::kInvalidArgument, fmt::format("descriptor {}: {}", fd, strerror(errno)));
  }
  return duplicate;
}

void CopyText(std::string_view text, std::span<char> out) {
  const size_t length = std::min(text.size(), out.size() - 1);
  std::memcpy(out.data(), text.data(), length);
  out[length] = '\0';
}

Status CopyOut(std::span<const uint8_t> bytes, void* buffer, size_t* size) {
  if (size == nullptr) return FailWith(MAYFLY_E_INVALID, "a null pointer for the size");
  const size_t room = std::exchange(*size, bytes.size());
  if (bytes.size() > room) {
    return FailWith(MAYFLY_E_BUFFER,
                    fmt::format("{} bytes do not fit into {}", bytes.size(), room));
  }
  if (bytes.empty()) return 0;
  if (buffer == nullptr) return FailWith(MAYFLY_E_INVALID, "a null pointer for the buffer");
  std::memcpy(buffer, bytes.data(), bytes.size());
  return 0;
}

}  // namespace mayfly::capi
