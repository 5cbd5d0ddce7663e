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
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// The file `memory` of a snapshot: the guest's regions one after the other, with holes where pages
// are zero. Its digests, one for each chunk, stand in the file `memory.digests`; a chunk of zeros
// alone has a digest of zeros.
struct MemoryLayout {
  static constexpr uint64_t kChunk = 64 * 1024;

  static constexpr uint64_t ChunkCount(uint64_t bytes) { return (bytes + kChunk - 1) / kChunk; }
};

// Writes all of `memory` into `fd`, an empty file. Nobody may change the memory meanwhile. Returns
// the bytes that are not in holes.
Result<uint64_t> WriteMemory(const GuestMemory& memory, int fd);

// The digests of a memory file of `bytes` bytes, read back from the file itself.
Result<std::vector<Sha256Digest>> DigestMemory(int fd, uint64_t bytes);

// A memory file that is restored from. Untrusted: what is in it is good only once its digest has
// been compared. Immutable; any thread.
class MemoryImage {
 public:
  // `digests_fd` is checked against `digests_digest` when it is needed. kCorrupt, naming the file,
  // if one is no regular file or has another size than `bytes` asks for.
  static Result<std::unique_ptr<MemoryImage>> Open(UniqueFd fd, UniqueFd digests_fd, uint64_t bytes,
                                                   const Sha256Digest& digests_digest);
  MemoryImage(const MemoryImage&) = delete;
  MemoryImage& operator=(const MemoryImage&) = delete;

  [[nodiscard]] int fd() const { return fd_.get(); }
  [[nodiscard]] int digests_fd() const { return digests_fd_.get(); }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

  // Reads the table of digests, for CheckChunk().
  Result<void> LoadDigests();
  // kCorrupt, naming the chunk, if `contents` are not what chunk `index` was.
  [[nodiscard]] Result<void> CheckChunk(uint64_t index, std::span<const uint8_t> contents) const;
  // Checks every chunk, on every processor. Loads the digests first.
  Result<void> CheckAll();
  // The same, and hands each chunk that is not wholly in a hole to `use` once it is checked, with
  // its offset: from several threads at once.
  using UseChunk = std::function<Result<void>(uint64_t offset, std::span<const uint8_t> contents)>;
  Result<void> ForEachCheckedChunk(const UseChunk& use);

 private:
  MemoryImage(UniqueFd fd, UniqueFd digests_fd, uint64_t bytes, const Sha256Digest& digests_digest)
      : fd_(std::move(fd)),
        digests_fd_(std::move(digests_fd)),
        bytes_(bytes),
        digests_digest_(digests_digest) {}

  const UniqueFd fd_;
  const UniqueFd digests_fd_;
  const uint64_t bytes_;
  const Sha256Digest digests_digest_;
  std::vector<Sha256Digest> digests_;
};

}  // namespace mayfly
