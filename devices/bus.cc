#include "devices/bus.h"

#include <algorithm>
#include <string>

#include "base/arithmetic.h"

namespace mayfly {

Result<void> Bus::Insert(uint64_t start, uint64_t size, BusDevice* device) {
  if (size == 0) return Fail(ErrorCode::kInvalidArgument, "bus: a range of no bytes");
  const auto end = CheckedAdd(start, size);
  if (!end) return Fail(ErrorCode::kInvalidArgument, "bus: a range wraps around");
  const auto next = std::ranges::upper_bound(ranges_, start, {}, &Range::start);
  const bool meets_next = next != ranges_.end() && *end > next->start;
  const bool meets_previous =
      next != ranges_.begin() && start - std::prev(next)->start < std::prev(next)->size;
  if (meets_next || meets_previous) {
    return Fail(ErrorCode::kInvalidArgument,
                "bus: the range at " + std::to_string(start) + " overlaps another");
  }
  ranges_.insert(next, Range{start, size, device});
  return {};
}

bool Bus::Read(uint64_t address, std::span<uint8_t> bytes) const {
  const Range* range = Find(address, bytes.size());
  if (range == nullptr) {
    std::ranges::fill(bytes, uint8_t{0xff});
    return false;
  }
  range->device->Read(address - range->start, bytes);
  return true;
}

bool Bus::Write(uint64_t address, std::span<const uint8_t> bytes) const {
  const Range* range = Find(address, bytes.size());
  if (range == nullptr) return false;
  range->device->Write(address - range->start, bytes);
  return true;
}

const Bus::Range* Bus::Find(uint64_t address, uint64_t length) const {
  const auto next = std::ranges::upper_bound(ranges_, address, {}, &Range::start);
  if (length == 0 || next == ranges_.begin()) return nullptr;
  const Range& range = *std::prev(next);
  return RangeFits(address - range.start, length, range.size) ? &range : nullptr;
}

}  // namespace mayfly
