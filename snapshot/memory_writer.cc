#include "snapshot/memory_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;

Result<void> WriteAt(const GuestMemory& memory, GuestAddress address, uint64_t length, int fd,
                     uint64_t offset) {
  while (length > 0) {
    const iovec from = memory.Iovec(address, length);
    const ssize_t count = ::pwritev2(fd, &from, 1, static_cast<off_t>(offset), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("write memory");
    if (count == 0) return FailErrno("write memory", EIO);
    address = address + static_cast<uint64_t>(count);
    length -= static_cast<uint64_t>(count);
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

// Writes the pages of [range.start, range.end) that are not zero, in runs as long as can be. What
// stands at `region_offset` of the file is the beginning of the region.
Result<uint64_t> WriteRange(const GuestMemory& memory, const MemoryRegion& region,
                            const PageRange& range, int fd, uint64_t region_offset) {
  uint64_t written = 0;
  uint64_t at = range.start;
  while (at < range.end) {
    uint64_t end = at;
    while (end < range.end && !memory.IsZero(region.start + end, kPage)) end += kPage;
    TRY(WriteAt(memory, region.start + at, end - at, fd, region_offset + at));
    written += end - at;
    at = end + kPage;
  }
  return written;
}

bool IsZero(std::span<const uint8_t> page) {
  return page[0] == 0 && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

// Every chunk that one of the pages lies in.
std::vector<uint64_t> ChunksOf(const PageRuns& pages) {
  std::vector<uint64_t> chunks;
  for (const PageRun& run : pages.runs) {
    const uint64_t end = (uint64_t{run.page} + run.count) * kPage;
    for (uint64_t i = run.page * kPage / kChunk; i * kChunk < end; ++i) {
      if (chunks.empty() || chunks.back() < i) chunks.push_back(i);
    }
  }
  return chunks;
}

// Reads those of `pages` that lie in the chunk at `offset` over it.
Result<void> ReadOwnPages(int fd, const PageRuns& pages, uint64_t offset,
                          std::span<uint8_t> chunk) {
  const auto end_of = [](const PageRun& run) { return (uint64_t{run.page} + run.count) * kPage; };
  auto run = std::ranges::upper_bound(pages.runs, offset, {}, end_of);
  for (; run != pages.runs.end() && run->page * kPage < offset + chunk.size(); ++run) {
    const uint64_t start = std::max(run->page * kPage, offset);
    const uint64_t end = std::min(end_of(*run), offset + chunk.size());
    TRY(ReadExactAt(fd, chunk.subspan(start - offset, end - start), start, "memory"));
  }
  return {};
}

Result<void> SetSize(int fd, uint64_t bytes) {
  if (::ftruncate(fd, static_cast<off_t>(bytes)) != 0) return FailErrno("write memory");
  return {};
}

// Writes a memory's difference from its parent's, a piece after the other.
class DifferenceWriter {
 public:
  DifferenceWriter(const GuestMemory& memory, const MemoryLayers& parent, int fd)
      : memory_(memory), parent_(parent), fd_(fd) {}

  // A piece of a chunk at most; `offset` is that in the file.
  Result<void> Add(GuestAddress address, uint64_t length, uint64_t offset) {
    const auto before = std::span(before_).first(length);
    const auto now = std::span(now_).first(length);
    TRY(parent_.Read(offset, before));
    if (!memory_.Read(address, now)) {
      return Fail(ErrorCode::kHost, "write memory: a region has changed");
    }
    for (uint64_t at = 0; at < length; at += kPage) {
      if (std::memcmp(before.data() + at, now.data() + at, kPage) == 0) continue;
      pages_.Add(static_cast<uint32_t>((offset + at) / kPage));
      if (memory_.IsZero(address + at, kPage)) continue;
      TRY(WriteAt(memory_, address + at, kPage, fd_, offset + at));
    }
    return {};
  }

  PageRuns Take() { return std::move(pages_); }

 private:
  const GuestMemory& memory_;
  const MemoryLayers& parent_;
  const int fd_;
  std::vector<uint8_t> before_ = std::vector<uint8_t>(kChunk);
  std::vector<uint8_t> now_ = std::vector<uint8_t>(kChunk);
  PageRuns pages_;
};

}  // namespace

Result<uint64_t> WriteMemory(const GuestMemory& memory, int fd) {
  TRY(SetSize(fd, memory.size()));
  uint64_t written = 0;
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    for (const PageRange& range : TRY(memory.PopulatedRanges(region))) {
      written += TRY(WriteRange(memory, region, range, fd, offset));
    }
    offset += region.size;
  }
  return written;
}

Result<uint64_t> WriteEveryPage(const GuestMemory& memory, int fd) {
  uint64_t written = 0;
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    written += TRY(WriteRange(memory, region, {0, region.size}, fd, offset));
    offset += region.size;
  }
  return written;
}

Result<PageRuns> WriteDifference(const GuestMemory& memory, const MemoryLayers& parent, int fd) {
  TRY(SetSize(fd, memory.size()));
  DifferenceWriter writer(memory, parent, fd);
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    for (const PageRange& range : TRY(memory.ChangedRanges(region))) {
      for (uint64_t at = range.start; at < range.end;) {
        const uint64_t length = std::min(kChunk, range.end - at);
        TRY(writer.Add(region.start + at, length, offset + at));
        at += length;
      }
    }
    offset += region.size;
  }
  return writer.Take();
}

Result<std::vector<Sha256Digest>> DigestMemory(const MemoryLayers& layers) {
  std::vector<Sha256Digest> digests(MemoryLayout::ChunkCount(layers.bytes()));
  const auto chunks = TRY(ChunksWithData(layers));
  TRY(ForEachChunk(layers, chunks,
                   [&](uint64_t index, std::span<const uint8_t> contents) -> Result<void> {
                     digests[index] = DigestOfChunk(contents);
                     return {};
                   }));
  return digests;
}

Result<std::vector<Sha256Digest>> DigestDifference(const MemoryLayers& parent, int fd,
                                                   const PageRuns& pages,
                                                   std::vector<Sha256Digest> digests) {
  const auto use = [&](uint64_t index, std::span<const uint8_t> before) -> Result<void> {
    // What was damaged since is not to be vouched for by the new digest.
    if (DigestOfChunk(before) != digests[index]) {
      return Fail(
          ErrorCode::kCorrupt,
          fmt::format("the parent's memory: the chunk at {:#x} is damaged", index * kChunk));
    }
    std::vector<uint8_t> now(before.begin(), before.end());
    TRY(ReadOwnPages(fd, pages, index * kChunk, now));
    digests[index] = DigestOfChunk(now);
    return {};
  };
  TRY(ForEachChunk(parent, ChunksOf(pages), use));
  return digests;
}

Result<void> WritePages(int fd, std::span<const uint8_t> contents, uint64_t offset) {
  for (uint64_t at = 0; at < contents.size(); at += kPage) {
    const auto page = contents.subspan(at, kPage);
    if (IsZero(page)) continue;
    for (size_t done = 0; done < page.size();) {
      const ssize_t count = ::pwrite(fd, page.data() + done, page.size() - done,
                                     static_cast<off_t>(offset + at + done));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return FailErrno("write memory");
      done += static_cast<size_t>(count);
    }
  }
  return {};
}

}  // namespace mayfly
