#include "vmm/capi/restore_arguments.h"

#include <fmt/format.h>

#include "vmm/capi/arguments.h"

namespace mayfly::capi {
namespace {

// There are eleven keys.
constexpr size_t kMostOverrides = 64;

}  // namespace

Result<MemoryWay> ReadMemoryWay(int memory) {
  switch (memory) {
    case MAYFLY_MEMORY_MAP:
      return MemoryWay::kMap;
    case MAYFLY_MEMORY_UFFD:
      return MemoryWay::kUffd;
    case MAYFLY_MEMORY_EAGER:
      return MemoryWay::kEager;
    default:
      return Fail(ErrorCode::kInvalidArgument, "memory: expected one of MAYFLY_MEMORY_*");
  }
}

Result<Overrides> ReadOverrides(const char* const* texts, size_t count) {
  if (count > kMostOverrides) {
    return Fail(ErrorCode::kTooLarge, fmt::format("overrides: {} are the most", kMostOverrides));
  }
  if (texts == nullptr && count > 0) {
    return Fail(ErrorCode::kInvalidArgument, "overrides: a null pointer for the array");
  }
  std::vector<std::string> read;
  read.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    read.push_back(TRY(ReadPath(texts[i], fmt::format("overrides[{}]", i))));
  }
  return WithContext(ParseOverrides(read), "overrides");
}

}  // namespace mayfly::capi
