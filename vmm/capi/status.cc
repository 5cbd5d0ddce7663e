#include "vmm/capi/status.h"

#include <cerrno>

#include "vmm/include/mayfly.h"

namespace mayfly::capi {

Failure::Failure(const Error& error) : code(CodeOf(error)), text(error.message()) {}

int CodeOf(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kInvalidArgument:
      return MAYFLY_E_INVALID;
    case ErrorCode::kNotFound:
      return MAYFLY_E_NOT_FOUND;
    case ErrorCode::kPermission:
      return MAYFLY_E_PERMISSION;
    case ErrorCode::kHost:
      return error.errno_value() == ENOMEM ? MAYFLY_E_NO_MEMORY : MAYFLY_E_HOST;
    case ErrorCode::kCorrupt:
      return MAYFLY_E_CORRUPT;
    case ErrorCode::kUnsupported:
      return MAYFLY_E_UNSUPPORTED;
    case ErrorCode::kTooLarge:
      return MAYFLY_E_TOO_LARGE;
    case ErrorCode::kTimeout:
      return MAYFLY_E_TIMEOUT;
    case ErrorCode::kGuest:
      return MAYFLY_E_GUEST;
    case ErrorCode::kHandler:
      return MAYFLY_E_HANDLER;
    case ErrorCode::kCancelled:
      return MAYFLY_E_CANCELLED;
  }
  return MAYFLY_E_HOST;
}

}  // namespace mayfly::capi
