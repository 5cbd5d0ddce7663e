#include "snapshot/page_source.h"

#include <algorithm>

#include "base/check.h"

namespace mayfly {
namespace {

constexpr uint64_t kChunk = MemoryLayout::kChunk;

}  // namespace

Result<std::unique_ptr<PageSource>> MappedPages::Create(std::unique_ptr<MemoryImage> image) {
  CHECK(image->layers().depth() == 1);
  Mapping contents = TRY(Mapping::File(image->layers().lowest_fd(), 0, image->bytes(), PROT_READ,
                                       MAP_SHARED | MAP_NORESERVE));
  return std::unique_ptr<PageSource>(new MappedPages(std::move(image), std::move(contents)));
}

Result<void> MappedPages::Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                               uint64_t length) {
  Result<void> copied = uffd.Copy(to, {contents_.data() + offset, length});
  if (!copied && copied.error().errno_value() == EFAULT) {
    return Fail(ErrorCode::kCorrupt, "memory: the file has become shorter, or cannot be read");
  }
  return copied;
}

Result<void> LayeredPages::Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                                uint64_t length) {
  std::vector<uint8_t> contents(std::min(length, kChunk));
  while (length > 0) {
    const auto piece = std::span(contents).first(std::min(length, kChunk));
    TRY(image_->layers().Read(offset, piece));
    TRY(uffd.Copy(to, piece));
    to += piece.size();
    offset += piece.size();
    length -= piece.size();
  }
  return {};
}

Result<std::unique_ptr<PageSource>> TrustedPages(std::unique_ptr<MemoryImage> image) {
  if (image->layers().depth() == 1) return MappedPages::Create(std::move(image));
  return std::make_unique<LayeredPages>(std::move(image));
}

Result<std::unique_ptr<PageSource>> CheckedPages::Create(std::unique_ptr<MemoryImage> image) {
  TRY(image->LoadDigests());
  return std::unique_ptr<PageSource>(new CheckedPages(std::move(image)));
}

Result<void> CheckedPages::Fill(const Userfaultfd& uffd, uint64_t to, uint64_t offset,
                                uint64_t length) {
  while (length > 0) {
    const uint64_t in_chunk = offset % kChunk;
    const uint64_t step = std::min(length, kChunk - in_chunk);
    MutexLock lock(mutex_);
    const Chunk* const chunk = TRY(GetLocked(offset / kChunk));
    TRY(uffd.Copy(to, std::span(chunk->contents).subspan(in_chunk, step)));
    to += step;
    offset += step;
    length -= step;
  }
  return {};
}

Result<const CheckedPages::Chunk*> CheckedPages::GetLocked(uint64_t index) {
  for (const Chunk& chunk : kept_) {
    if (chunk.index == index) return &chunk;
  }
  Chunk& chunk = kept_[next_];
  next_ = (next_ + 1) % kKept;
  chunk.index = kNone;
  chunk.contents.resize(std::min(kChunk, image_->bytes() - index * kChunk));
  TRY(image_->layers().Read(index * kChunk, chunk.contents));
  TRY(image_->CheckChunk(index, chunk.contents));
  chunk.index = index;
  return &chunk;
}

Result<void> PresentPages::Fill(const Userfaultfd& uffd, uint64_t to, uint64_t /*offset*/,
                                uint64_t length) {
  return uffd.Continue(to, length);
}

}  // namespace mayfly
