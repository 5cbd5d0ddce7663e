#include "vmm/cli/api_handle.h"

#include <array>
#include <string>

namespace mayfly {
namespace {

ErrorCode CodeOfApi(int status) {
  switch (status) {
    case MAYFLY_E_INVALID:
      return ErrorCode::kInvalidArgument;
    case MAYFLY_E_TOO_LARGE:
      return ErrorCode::kTooLarge;
    case MAYFLY_E_NOT_FOUND:
      return ErrorCode::kNotFound;
    case MAYFLY_E_PERMISSION:
      return ErrorCode::kPermission;
    case MAYFLY_E_CORRUPT:
      return ErrorCode::kCorrupt;
    case MAYFLY_E_UNSUPPORTED:
      return ErrorCode::kUnsupported;
    case MAYFLY_E_TIMEOUT:
      return ErrorCode::kTimeout;
    case MAYFLY_E_GUEST:
      return ErrorCode::kGuest;
    case MAYFLY_E_HANDLER:
      return ErrorCode::kHandler;
    case MAYFLY_E_CANCELLED:
      return ErrorCode::kCancelled;
    default:
      return ErrorCode::kHost;
  }
}

}  // namespace

Result<void> CheckApi(int status, const void* handle) {
  if (status >= 0) return {};
  constexpr size_t kMostText = 4096;
  std::array<char, kMostText> text{};
  const bool told = mayfly_error(handle, text.data(), text.size()) > 0;
  return Fail(CodeOfApi(status), told ? text.data() : mayfly_strerror(status));
}

}  // namespace mayfly
