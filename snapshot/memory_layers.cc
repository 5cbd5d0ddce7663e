#include "snapshot/memory_layers.h"

#include <unistd.h>

#include <algorithm>

#include "base/check.h"
#include "base/file.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

using Extent = MemoryLayers::Extent;

constexpr uint64_t kPage = GuestMemory::kPageSize;

// Appends it, or lets the last one grow.
void Append(std::vector<Extent>& extents, const Extent& extent) {
  if (extent.start >= extent.end) return;
  if (!extents.empty() && extents.back().fd == extent.fd && extents.back().end == extent.start) {
    extents.back().end = extent.end;
  } else {
    extents.push_back(extent);
  }
}

// `below` with the runs of a file over it.
std::vector<Extent> Cover(const std::vector<Extent>& below, const PageRuns& pages, int fd) {
  std::vector<Extent> covered;
  uint64_t from = 0;  // What is below this is done.
  auto extent = below.begin();
  const auto take_below = [&](uint64_t to) {
    for (; extent != below.end() && extent->start < to; ++extent) {
      Append(covered, {std::max(extent->start, from), std::min(extent->end, to), extent->fd});
      if (extent->end > to) return;
    }
  };
  for (const PageRun& run : pages.runs) {
    const uint64_t start = run.page * kPage;
    take_below(start);
    from = start + run.count * kPage;
    Append(covered, {start, from, fd});
    while (extent != below.end() && extent->end <= from) ++extent;
  }
  take_below(UINT64_MAX);
  return covered;
}

// The data of [extent.start, extent.end) of its file.
Result<void> AppendData(const Extent& extent, std::vector<Extent>& data) {
  uint64_t at = extent.start;
  while (at < extent.end) {
    const off_t start = ::lseek(extent.fd, static_cast<off_t>(at), SEEK_DATA);
    if (start < 0 && errno == ENXIO) return {};
    if (start < 0) return FailErrno("memory: lseek(SEEK_DATA)");
    if (static_cast<uint64_t>(start) >= extent.end) return {};
    const off_t hole = ::lseek(extent.fd, start, SEEK_HOLE);
    if (hole < 0) return FailErrno("memory: lseek(SEEK_HOLE)");
    at = std::min(static_cast<uint64_t>(hole), extent.end);
    data.push_back({static_cast<uint64_t>(start), at, extent.fd});
  }
  return {};
}

}  // namespace

MemoryLayers::MemoryLayers(std::vector<MemoryLayer> layers, uint64_t bytes)
    : layers_(std::move(layers)), bytes_(bytes) {
  CHECK(!layers_.empty());
  extents_.push_back({0, bytes_, layers_.back().fd.get()});
  for (auto layer = layers_.rbegin() + 1; layer != layers_.rend(); ++layer) {
    extents_ = Cover(extents_, layer->pages, layer->fd.get());
  }
}

std::vector<int> MemoryLayers::fds() const {
  std::vector<int> fds;
  fds.reserve(layers_.size());
  for (const MemoryLayer& layer : layers_) fds.push_back(layer.fd.get());
  return fds;
}

Result<std::vector<Extent>> MemoryLayers::Data() const {
  std::vector<Extent> data;
  for (const Extent& extent : extents_) TRY(AppendData(extent, data));
  return data;
}

Result<void> MemoryLayers::Read(uint64_t offset, std::span<uint8_t> out) const {
  auto extent = std::ranges::upper_bound(extents_, offset, {}, &Extent::end);
  while (!out.empty() && extent != extents_.end()) {
    const uint64_t size = std::min<uint64_t>(out.size(), extent->end - offset);
    TRY(ReadExactAt(extent->fd, out.first(size), offset, "memory"));
    out = out.subspan(size);
    offset += size;
    ++extent;
  }
  CHECK(out.empty());
  return {};
}

}  // namespace mayfly
