#pragma once

#include <expected>
#include <string>

#include "base/result.h"

namespace mayfly::capi {

// Why a function of the API failed: one of the MAYFLY_E_* codes, and the text for mayfly_error().
struct Failure {
  Failure(int code_value, std::string text_value) : code(code_value), text(std::move(text_value)) {}
  // NOLINTNEXTLINE(google-explicit-constructor): TRY() turns the errors below into it.
  Failure(const Error& error);

  int code;
  std::string text;
};

// What a function of the API returns: 0, or a number that is not negative.
using Status = std::expected<int, Failure>;

// What a check on the way there returns.
using Check = std::expected<void, Failure>;

inline std::unexpected<Failure> FailWith(int code, std::string text) {
  return std::unexpected<Failure>(Failure(code, std::move(text)));
}

// The code for an error of the layers below.
int CodeOf(const Error& error);

}  // namespace mayfly::capi
