#pragma once

#include <cerrno>
#include <cstring>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace mayfly {

// What the receiver of an error can do about it. The command line maps codes to exit codes
// (docs/exit-codes.md).
enum class ErrorCode {
  kInvalidArgument,  // the request itself is wrong: usage, configuration, a limit of ours
  kNotFound,         // something named by the request is not there
  kPermission,       // it is there, and not for us
  kHost,             // a system call failed for a reason of the host's
  kCorrupt,          // an untrusted file does not hold what it claims
  kUnsupported,      // this host, or this build, cannot do it
  kTooLarge,         // a documented size limit is exceeded
  kTimeout,          // a deadline passed
  kGuest,            // the guest ended, or broke the control protocol
  kHandler,          // the function's handler failed
  kCancelled,        // the user asked us to stop
};

// An error is a value: a code to act on, the errno of the system call if there was one, and one
// line of text for a person. Context() puts the name of what was being done in front, so that the
// line reads from the outside in: "disk0: open /x: No such file or directory".
class Error {
 public:
  Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // For a failed system call: appends strerror(errno_value) and derives the code from it.
  static Error FromErrno(std::string_view what, int errno_value = errno);

  [[nodiscard]] ErrorCode code() const { return code_; }
  [[nodiscard]] int errno_value() const { return errno_value_; }
  [[nodiscard]] const std::string& message() const { return message_; }

  [[nodiscard]] Error Context(std::string_view what) &&;

 private:
  ErrorCode code_;
  int errno_value_ = 0;
  std::string message_;
};

template <class T = void>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> Fail(ErrorCode code, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}

inline std::unexpected<Error> FailErrno(std::string_view what, int errno_value = errno) {
  return std::unexpected<Error>(Error::FromErrno(what, errno_value));
}

// Adds context to the error of a result, and leaves a value alone.
template <class T>
Result<T> WithContext(Result<T> result, std::string_view what) {
  if (!result) return std::unexpected<Error>(std::move(result).error().Context(what));
  return result;
}

// Where a failure leaves nothing to be done and nobody to be told; the caller's comment says why.
template <class T>
void IgnoreFailure(const Result<T>& /*result*/) {}

}  // namespace mayfly

// The value of a Result, or return its error from the enclosing function.
#define TRY(expr)                                                           \
  __extension__({                                                           \
    auto try_result = (expr);                                               \
    if (!try_result) return std::unexpected(std::move(try_result).error()); \
    *std::move(try_result);                                                 \
  })
