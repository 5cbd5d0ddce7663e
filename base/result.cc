#include "base/result.h"

namespace mayfly {
namespace {

ErrorCode CodeOf(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ENXIO:
      return ErrorCode::kNotFound;
    case EACCES:
    case EPERM:
      return ErrorCode::kPermission;
    case ETIMEDOUT:
      return ErrorCode::kTimeout;
    default:
      return ErrorCode::kHost;
  }
}

}  // namespace

Error Error::FromErrno(std::string_view what, int errno_value) {
  std::string message(what);
  message += ": ";
  message += std::strerror(errno_value);
  Error error(CodeOf(errno_value), std::move(message));
  error.errno_value_ = errno_value;
  return error;
}

Error Error::Context(std::string_view what) && {
  message_.insert(0, ": ");
  message_.insert(0, what);
  return std::move(*this);
}

}  // namespace mayfly
