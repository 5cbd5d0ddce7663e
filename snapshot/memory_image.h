#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/sha256.h"
#include "base/unique_fd.h"
#include "snapshot/memory_layers.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// The file `memory` of a snapshot: the guest's regions one after the other, with holes where pages
// are zero; of a snapshot over a parent, with holes for the parent's pages too. The digests of the
// guest's memory as a whole, one for each chunk, stand in the file `memory.digests`; a chunk of
// zeros alone has a digest of zeros.
struct MemoryLayout {
  static constexpr uint64_t kChunk = uint64_t{64} * 1024;

  static constexpr uint64_t ChunkCount(uint64_t bytes) { return (bytes + kChunk - 1) / kChunk; }
};

// Calls `use(chunk index, contents)` for each of `chunks`, on every processor at once.
Result<void> ForEachChunk(
    const MemoryLayers& layers, const std::vector<uint64_t>& chunks,
    const std::function<Result<void>(uint64_t, std::span<const uint8_t>)>& use);

// Every chunk that is not wholly in a hole.
Result<std::vector<uint64_t>> ChunksWithData(const MemoryLayers& layers);

// As in memory.digests.
Sha256Digest DigestOfChunk(std::span<const uint8_t> contents);

// kCorrupt, with both sizes, unless `fd` is a regular file of `bytes` bytes.
Result<void> CheckMemberFile(int fd, const std::string& name, uint64_t bytes);

// The memory that is restored from. Untrusted: what is in it is good only once its digest has been
// compared. Immutable; any thread.
class MemoryImage {
 public:
  // `digests_fd` is checked against `digests_digest` when it is needed. kCorrupt, naming the file,
  // if one is no regular file or has another size than `bytes` asks for.
  static Result<std::unique_ptr<MemoryImage>> Open(UniqueFd fd, UniqueFd digests_fd, uint64_t bytes,
                                                   const Sha256Digest& digests_digest);
  // The same of several files, the uppermost first.
  static Result<std::unique_ptr<MemoryImage>> Open(std::vector<MemoryLayer> layers,
                                                   UniqueFd digests_fd, uint64_t bytes,
                                                   const Sha256Digest& digests_digest);
  MemoryImage(const MemoryImage&) = delete;
  MemoryImage& operator=(const MemoryImage&) = delete;

  [[nodiscard]] const MemoryLayers& layers() const { return layers_; }
  [[nodiscard]] uint64_t bytes() const { return layers_.bytes(); }
  [[nodiscard]] int digests_fd() const { return digests_fd_.get(); }

  // Reads the table of digests, for CheckChunk().
  Result<void> LoadDigests();
  // What it read.
  [[nodiscard]] const std::vector<Sha256Digest>& digests() const { return digests_; }
  // kCorrupt, naming the chunk, if `contents` are not what chunk `index` was.
  [[nodiscard]] Result<void> CheckChunk(uint64_t index, std::span<const uint8_t> contents) const;
  // Checks every chunk, on every processor. Loads the digests first.
  Result<void> CheckAll();
  // The same, and hands each chunk that is not wholly in a hole to `use` once it is checked, with
  // its offset: from several threads at once.
  using UseChunk = std::function<Result<void>(uint64_t offset, std::span<const uint8_t> contents)>;
  Result<void> ForEachCheckedChunk(const UseChunk& use);

 private:
  MemoryImage(MemoryLayers layers, UniqueFd digests_fd, const Sha256Digest& digests_digest)
      : layers_(std::move(layers)),
        digests_fd_(std::move(digests_fd)),
        digests_digest_(digests_digest) {}

  const MemoryLayers layers_;
  const UniqueFd digests_fd_;
  const Sha256Digest digests_digest_;
  std::vector<Sha256Digest> digests_;
};

}  // namespace mayfly
