#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/mapping.h"
#include "base/mutex.h"
#include "base/result.h"
#include "snapshot/memory_image.h"
#include "snapshot/userfaultfd.h"

namespace mayfly {

// Where the contents of missing pages come from. Any thread.
class PageSource {
 public:
  PageSource() = default;
  PageSource(const PageSource&) = delete;
  PageSource& operator=(const PageSource&) = delete;
  virtual ~PageSource() = default;

  // Has `uffd` fill the pages from address `to` on with `length` bytes at `offset` of the image,
  // those that are not there yet, and wakes who waits for them. An error means that at least one of
  // them was not filled.
  [[nodiscard]] virtual Result<void> Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                                          uint64_t length) = 0;
};

// One memory file that is taken as it is. Only the kernel reads it.
class MappedPages final : public PageSource {
 public:
  static Result<std::unique_ptr<PageSource>> Create(std::unique_ptr<MemoryImage> image);
  Result<void> Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                    uint64_t length) override;

 private:
  MappedPages(std::unique_ptr<MemoryImage> image, Mapping contents)
      : image_(std::move(image)), contents_(std::move(contents)) {}

  const std::unique_ptr<MemoryImage> image_;
  const Mapping contents_;
};

// Several memory files, one over the other, that are taken as they are.
class LayeredPages final : public PageSource {
 public:
  explicit LayeredPages(std::unique_ptr<MemoryImage> image) : image_(std::move(image)) {}
  Result<void> Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                    uint64_t length) override;

 private:
  const std::unique_ptr<MemoryImage> image_;
};

// Whichever of the two above fits.
Result<std::unique_ptr<PageSource>> TrustedPages(std::unique_ptr<MemoryImage> image);

// Memory files whose chunks are compared with their digests: what is filled is what was compared.
class CheckedPages final : public PageSource {
 public:
  static Result<std::unique_ptr<PageSource>> Create(std::unique_ptr<MemoryImage> image);
  Result<void> Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                    uint64_t length) override;

 private:
  explicit CheckedPages(std::unique_ptr<MemoryImage> image) : image_(std::move(image)) {}

  // The last chunks that were compared: runs of a working set that lie close together share them.
  static constexpr size_t kKept = 16;
  static constexpr uint64_t kNone = ~uint64_t{0};
  struct Chunk {
    uint64_t index = kNone;
    std::vector<uint8_t> contents{};
  };
  Result<const Chunk*> GetLocked(uint64_t index) REQUIRES(mutex_);

  const std::unique_ptr<MemoryImage> image_;
  Mutex mutex_;
  std::array<Chunk, kKept> kept_ GUARDED_BY(mutex_);
  size_t next_ GUARDED_BY(mutex_) = 0;
};

// The file that the memory itself is a mapping of, all of it in memory: userfaultfd's minor mode.
class PresentPages final : public PageSource {
 public:
  Result<void> Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                    uint64_t length) override;
};

}  // namespace mayfly
