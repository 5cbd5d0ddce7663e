#include "jailer/jail_id.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/json.h"

namespace mayfly {
namespace {

// Of ASCII alone: what the C library calls a letter depends on the locale.
bool IsAllowed(char character) {
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
         (character >= '0' && character <= '9') || character == '-' || character == '_';
}

}  // namespace

Result<JailId> JailId::Parse(std::string_view text) {
  if (text.empty() || text.size() > kMostBytes || text.front() == '-' ||
      !std::ranges::all_of(text, IsAllowed)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("jail: {}: a name has 1 to {} letters, digits, '-' and '_', and does "
                            "not begin with '-'",
                            Printable(text), kMostBytes));
  }
  return JailId(std::string(text));
}

JailId JailId::OfThisProcess() { return JailId(fmt::format("vm{}", ::getpid())); }

}  // namespace mayfly
