#include "snapshot/stall_watch.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string_view>

#include "base/file.h"
#include "base/pointer.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
// Of memory, whose pages are counted at a time.
constexpr uint64_t kPiece = 64 << 20;

}  // namespace

Result<StallWatch> StallWatch::Create(int uffd, PagedRegions regions,
                                      std::chrono::milliseconds deadline) {
  return StallWatch(TRY(OpenInfo(uffd)), std::move(regions), deadline);
}

Result<UniqueFd> StallWatch::OpenInfo(int uffd) {
  Result<UniqueFd> info = OpenFile(fmt::format("/proc/self/fdinfo/{}", uffd), O_RDONLY);
  if (!info) {
    return Fail(ErrorCode::kUnsupported, "a pager cannot be watched: " + info.error().message());
  }
  return info;
}

std::chrono::milliseconds StallWatch::interval() const {
  return std::max(deadline_ / (waiting_ ? 20 : 4), std::chrono::milliseconds(1));
}

bool StallWatch::Stalled(Clock::time_point now) {
  if (!SomebodyWaits()) {
    waiting_ = false;
    return false;
  }
  const uint64_t present = Present();
  if (!waiting_ || present != present_) {
    waiting_ = true;
    present_ = present;
    since_ = now;
  }
  return now - since_ >= deadline_;
}

// Linux, fs/userfaultfd.c: "total" counts the faults that wait, read or not.
bool StallWatch::SomebodyWaits() const {
  std::array<char, 512> text{};
  iovec part{text.data(), text.size()};
  // As everywhere that a jail's filter is to allow.
  const ssize_t size = ::preadv2(info_.get(), &part, 1, 0, 0);
  if (size <= 0) return false;
  const std::string_view info(text.data(), static_cast<size_t>(size));
  constexpr std::string_view kTotal = "total:\t";
  const size_t total = info.find(kTotal);
  if (total == std::string_view::npos || total + kTotal.size() >= info.size()) return false;
  return info[total + kTotal.size()] != '0';
}

uint64_t StallWatch::Present() {
  residency_.resize(kPiece / kPage);
  uint64_t present = 0;
  for (const PagedRegion& region : regions_.regions()) {
    for (uint64_t at = 0; at < region.size; at += kPiece) {
      const uint64_t size = std::min(kPiece, region.size - at);
      if (::mincore(PointerOf(region.host + at), size, residency_.data()) != 0) {
        continue;
      }
      const auto pages = std::span(residency_).first(size / kPage);
      present += static_cast<uint64_t>(
          std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; }));
    }
  }
  return present;
}

}  // namespace mayfly
