#include "snapshot/fill_memory.h"

#include <unistd.h>

#include <algorithm>

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;

}  // namespace

Result<bool> IsStamped(const MemoryImage& image, const MemoryOptions& options) {
  if (options.unverified) return true;
  if (options.stamps == nullptr) return false;
  return options.stamps->Has(TRY(VerifiedStamps::StampOf(image.layers().fds(), options.manifest)));
}

GuestAddress AddressOf(const GuestMemory& memory, uint64_t offset) {
  for (const MemoryRegion& region : memory.regions()) {
    if (offset < region.size) return region.start + offset;
    offset -= region.size;
  }
  return GuestAddress{~0ULL};
}

uint64_t LengthInRegion(const GuestMemory& memory, uint64_t offset, uint64_t length) {
  uint64_t end = 0;
  for (const MemoryRegion& region : memory.regions()) {
    end += region.size;
    if (offset < end) break;
  }
  return std::min(end - offset, length);
}

void PopulateAhead(const GuestMemory& memory, const WorkingSet& set) {
  for (const WorkingSetRun& run : set.runs) {
    memory.Populate(AddressOf(memory, run.page * kPage), run.count * kPage, run.written);
  }
}

Result<void> ReadMemoryFile(int fd, uint64_t offset, uint64_t size, const Place& place) {
  uint64_t at = 0;
  while (at < size) {
    const off_t data = ::lseek(fd, static_cast<off_t>(offset + at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) return {};
    if (data < 0) return FailErrno("memory: lseek(SEEK_DATA)");
    at = static_cast<uint64_t>(data) - offset;
    if (at >= size) return {};
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0) return FailErrno("memory: lseek(SEEK_HOLE)");
    const uint64_t end = std::min(static_cast<uint64_t>(hole) - offset, size);
    const iovec to = place(at, end - at);
    const ssize_t count = ::preadv(fd, &to, 1, data);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("read memory");
    if (count == 0) return Fail(ErrorCode::kCorrupt, "memory: the file has become shorter");
    at += static_cast<uint64_t>(count);
  }
  return {};
}

Result<void> ReadLayers(const MemoryLayers& layers, const Place& place) {
  for (MemoryLayers::Extent data : TRY(layers.Data())) {
    while (data.start < data.end) {
      const iovec to = place(data.start, data.end - data.start);
      const ssize_t count = ::preadv(data.fd, &to, 1, static_cast<off_t>(data.start));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return FailErrno("read memory");
      if (count == 0) return Fail(ErrorCode::kCorrupt, "memory: the file has become shorter");
      data.start += static_cast<uint64_t>(count);
    }
  }
  return {};
}

Result<void> ReadMemoryFile(int fd, const GuestMemory& memory) {
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    TRY(ReadMemoryFile(fd, offset, region.size, [&](uint64_t at, uint64_t length) {
      return memory.Iovec(region.start + at, length);
    }));
    offset += region.size;
  }
  return {};
}

}  // namespace mayfly
