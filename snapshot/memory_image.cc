#include "snapshot/memory_image.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr uint64_t kChunk = MemoryLayout::kChunk;

bool IsZero(std::span<const uint8_t> bytes) {
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

Result<void> WriteAllAt(int fd, std::span<const uint8_t> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t count = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return FailErrno("write memory");
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += static_cast<uint64_t>(count);
  }
  return {};
}

// Writes the pages of `chunk` that are not zero, in runs.
Result<uint64_t> WriteChunk(int fd, std::span<const uint8_t> chunk, uint64_t offset) {
  uint64_t written = 0;
  size_t at = 0;
  while (at < chunk.size()) {
    size_t end = at;
    while (end < chunk.size() && !IsZero(chunk.subspan(end, kPage))) end += kPage;
    if (end > at) TRY(WriteAllAt(fd, chunk.subspan(at, end - at), offset + at));
    written += end - at;
    at = end + kPage;
  }
  return written;
}

// [start, end) of the next data at or after `offset`; empty if there is none.
struct Extent {
  uint64_t start;
  uint64_t end;
};

Result<Extent> NextData(int fd, uint64_t offset, uint64_t size) {
  const off_t start = ::lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (start < 0 && errno == ENXIO) return Extent{size, size};
  if (start < 0) return FailErrno("memory: lseek(SEEK_DATA)");
  const off_t end = ::lseek(fd, start, SEEK_HOLE);
  if (end < 0) return FailErrno("memory: lseek(SEEK_HOLE)");
  return Extent{static_cast<uint64_t>(start), std::min(static_cast<uint64_t>(end), size)};
}

// Every chunk that is not wholly in a hole.
Result<std::vector<uint64_t>> ChunksWithData(int fd, uint64_t size) {
  std::vector<uint64_t> chunks;
  uint64_t offset = 0;
  while (offset < size) {
    const Extent extent = TRY(NextData(fd, offset, size));
    for (uint64_t i = extent.start / kChunk; i * kChunk < extent.end; ++i) {
      if (chunks.empty() || chunks.back() < i) chunks.push_back(i);
    }
    if (extent.start >= size) break;
    offset = extent.end;
  }
  return chunks;
}

Sha256Digest DigestOfChunk(std::span<const uint8_t> contents) {
  return IsZero(contents) ? Sha256Digest{} : DigestOf(contents);
}

// Calls `use(chunk index, contents)` for each of `chunks`, on every processor at once.
Result<void> ForEachChunk(
    int fd, uint64_t size, const std::vector<uint64_t>& chunks,
    const std::function<Result<void>(uint64_t, std::span<const uint8_t>)>& use) {
  std::atomic<size_t> next{0};
  Mutex mutex;
  Result<void> result;
  const auto work = [&] {
    std::vector<uint8_t> buffer(kChunk);
    for (size_t i = next++; i < chunks.size(); i = next++) {
      const uint64_t offset = chunks[i] * kChunk;
      const auto contents = std::span(buffer).first(std::min(kChunk, size - offset));
      Result<void> done = ReadExactAt(fd, contents, offset, "memory");
      if (done) done = use(chunks[i], contents);
      if (done) continue;
      MutexLock lock(mutex);
      if (result) result = std::move(done);
      next = chunks.size();
    }
  };
  {
    std::vector<Thread> helpers;
    const size_t count = std::min<size_t>(std::thread::hardware_concurrency(), chunks.size() / 16);
    for (size_t i = 1; i < count; ++i) helpers.emplace_back("digest", work);
    work();
  }
  return result;
}

Result<void> CheckFile(int fd, const std::string& name, uint64_t bytes) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return FailErrno("stat " + name);
  if (!S_ISREG(status.st_mode)) return Fail(ErrorCode::kCorrupt, name + ": not a regular file");
  if (static_cast<uint64_t>(status.st_size) != bytes) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes, the manifest says {}", name, status.st_size, bytes));
  }
  return {};
}

}  // namespace

Result<uint64_t> WriteMemory(const GuestMemory& memory, int fd) {
  if (::ftruncate(fd, static_cast<off_t>(memory.size())) != 0) return FailErrno("write memory");
  std::vector<uint8_t> chunk(kChunk);
  uint64_t written = 0;
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    for (const PageRange& range : TRY(memory.PopulatedRanges(region))) {
      for (uint64_t at = range.start; at < range.end; at += kChunk) {
        const auto bytes = std::span(chunk).first(std::min(kChunk, range.end - at));
        if (!memory.Read(region.start + at, bytes)) {
          return Fail(ErrorCode::kHost, "write memory: a region has changed");
        }
        written += TRY(WriteChunk(fd, bytes, offset + at));
      }
    }
    offset += region.size;
  }
  return written;
}

Result<std::vector<Sha256Digest>> DigestMemory(int fd, uint64_t bytes) {
  std::vector<Sha256Digest> digests(MemoryLayout::ChunkCount(bytes));
  const auto chunks = TRY(ChunksWithData(fd, bytes));
  TRY(ForEachChunk(fd, bytes, chunks,
                   [&](uint64_t index, std::span<const uint8_t> contents) -> Result<void> {
                     digests[index] = DigestOfChunk(contents);
                     return {};
                   }));
  return digests;
}

Result<std::unique_ptr<MemoryImage>> MemoryImage::Open(UniqueFd fd, UniqueFd digests_fd,
                                                       uint64_t bytes,
                                                       const Sha256Digest& digests_digest) {
  TRY(CheckFile(fd.get(), "memory", bytes));
  TRY(CheckFile(digests_fd.get(), "memory.digests",
                MemoryLayout::ChunkCount(bytes) * sizeof(Sha256Digest)));
  return std::unique_ptr<MemoryImage>(
      new MemoryImage(std::move(fd), std::move(digests_fd), bytes, digests_digest));
}

Result<void> MemoryImage::LoadDigests() {
  std::vector<Sha256Digest> digests(MemoryLayout::ChunkCount(bytes_));
  const std::span<uint8_t> bytes(digests.front().data(), digests.size() * sizeof(Sha256Digest));
  TRY(ReadExactAt(digests_fd_.get(), bytes, 0, "memory.digests"));
  if (DigestOf(bytes) != digests_digest_) {
    return Fail(ErrorCode::kCorrupt, "memory.digests: its digest does not match");
  }
  digests_ = std::move(digests);
  return {};
}

Result<void> MemoryImage::CheckChunk(uint64_t index, std::span<const uint8_t> contents) const {
  if (index < digests_.size() && DigestOfChunk(contents) == digests_[index]) return {};
  return Fail(ErrorCode::kCorrupt,
              fmt::format("memory: the chunk at {:#x} does not match its digest", index * kChunk));
}

Result<void> MemoryImage::CheckAll() {
  return ForEachCheckedChunk([](uint64_t, std::span<const uint8_t>) -> Result<void> { return {}; });
}

Result<void> MemoryImage::ForEachCheckedChunk(const UseChunk& use) {
  TRY(LoadDigests());
  const auto chunks = TRY(ChunksWithData(fd_.get(), bytes_));
  std::vector<bool> has_data(digests_.size());
  for (const uint64_t chunk : chunks) has_data[chunk] = true;
  for (uint64_t i = 0; i < digests_.size(); ++i) {
    if (!has_data[i] && digests_[i] != Sha256Digest{}) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("memory: the chunk at {:#x} is a hole", i * kChunk));
    }
  }
  return ForEachChunk(fd_.get(), bytes_, chunks,
                      [&](uint64_t index, std::span<const uint8_t> contents) -> Result<void> {
                        TRY(CheckChunk(index, contents));
                        return use(index * kChunk, contents);
                      });
}

}  // namespace mayfly
