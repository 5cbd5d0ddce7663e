#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace mayfly {

// The name of a jail, and of what it leaves on the host: directories and cgroups. So it is one
// component of a path and nothing else, whatever it is put into.
class JailId {
 public:
  static constexpr size_t kMostBytes = 64;

  // Letters, digits, '-' and '_' of ASCII, not beginning with '-', 1 to kMostBytes of them;
  // anything else is kInvalidArgument.
  static Result<JailId> Parse(std::string_view text);
  // One that no other live process gets.
  static JailId OfThisProcess();

  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  explicit JailId(std::string text) : text_(std::move(text)) {}

  std::string text_;
};

}  // namespace mayfly
