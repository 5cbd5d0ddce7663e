#include "snapshot/memory_image.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

#include "base/file.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace mayfly {
namespace {

constexpr uint64_t kChunk = MemoryLayout::kChunk;

bool IsZero(std::span<const uint8_t> bytes) {
  return bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

}  // namespace

Result<std::vector<uint64_t>> ChunksWithData(const MemoryLayers& layers) {
  std::vector<uint64_t> chunks;
  for (const MemoryLayers::Extent& data : TRY(layers.Data())) {
    for (uint64_t i = data.start / kChunk; i * kChunk < data.end; ++i) {
      if (chunks.empty() || chunks.back() < i) chunks.push_back(i);
    }
  }
  return chunks;
}

Sha256Digest DigestOfChunk(std::span<const uint8_t> contents) {
  return IsZero(contents) ? Sha256Digest{} : DigestOf(contents);
}

Result<void> ForEachChunk(
    const MemoryLayers& layers, const std::vector<uint64_t>& chunks,
    const std::function<Result<void>(uint64_t, std::span<const uint8_t>)>& use) {
  std::atomic<size_t> next{0};
  Mutex mutex;
  Result<void> result;
  const auto work = [&] {
    std::vector<uint8_t> buffer(kChunk);
    for (size_t i = next++; i < chunks.size(); i = next++) {
      const uint64_t offset = chunks[i] * kChunk;
      const auto contents = std::span(buffer).first(std::min(kChunk, layers.bytes() - offset));
      Result<void> done = layers.Read(offset, contents);
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

Result<void> CheckMemberFile(int fd, const std::string& name, uint64_t bytes) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) return FailErrno("stat " + name);
  if (!S_ISREG(status.st_mode)) return Fail(ErrorCode::kCorrupt, name + ": not a regular file");
  if (static_cast<uint64_t>(status.st_size) != bytes) {
    return Fail(ErrorCode::kCorrupt,
                fmt::format("{}: {} bytes, the manifest says {}", name, status.st_size, bytes));
  }
  return {};
}

Result<std::unique_ptr<MemoryImage>> MemoryImage::Open(UniqueFd fd, UniqueFd digests_fd,
                                                       uint64_t bytes,
                                                       const Sha256Digest& digests_digest) {
  std::vector<MemoryLayer> layers;
  layers.push_back({std::move(fd)});
  return Open(std::move(layers), std::move(digests_fd), bytes, digests_digest);
}

Result<std::unique_ptr<MemoryImage>> MemoryImage::Open(std::vector<MemoryLayer> layers,
                                                       UniqueFd digests_fd, uint64_t bytes,
                                                       const Sha256Digest& digests_digest) {
  for (const MemoryLayer& layer : layers) {
    TRY(CheckMemberFile(layer.fd.get(), "memory", bytes));
  }
  TRY(CheckMemberFile(digests_fd.get(), "memory.digests",
                      MemoryLayout::ChunkCount(bytes) * sizeof(Sha256Digest)));
  return std::unique_ptr<MemoryImage>(new MemoryImage(MemoryLayers(std::move(layers), bytes),
                                                      std::move(digests_fd), digests_digest));
}

Result<void> MemoryImage::LoadDigests() {
  std::vector<Sha256Digest> digests(MemoryLayout::ChunkCount(bytes()));
  const std::span<uint8_t> table(digests.front().data(), digests.size() * sizeof(Sha256Digest));
  TRY(ReadExactAt(digests_fd_.get(), table, 0, "memory.digests"));
  if (DigestOf(table) != digests_digest_) {
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
  const auto chunks = TRY(ChunksWithData(layers_));
  std::vector<bool> has_data(digests_.size());
  for (const uint64_t chunk : chunks) has_data[chunk] = true;
  for (uint64_t i = 0; i < digests_.size(); ++i) {
    if (!has_data[i] && digests_[i] != Sha256Digest{}) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("memory: the chunk at {:#x} is a hole", i * kChunk));
    }
  }
  return ForEachChunk(layers_, chunks,
                      [&](uint64_t index, std::span<const uint8_t> contents) -> Result<void> {
                        TRY(CheckChunk(index, contents));
                        return use(index * kChunk, contents);
                      });
}

}  // namespace mayfly
