#include "vmm/function/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "base/file.h"

namespace mayfly {
namespace {

constexpr std::string_view kMagic = "MAYFLYFN";
constexpr uint64_t kBlock = FunctionImageLayout::kBlock;

// Offsets within the trailer.
constexpr size_t kMagicAt = 0;
constexpr size_t kVersionAt = 8;
constexpr size_t kTrailerSizeAt = 12;
constexpr size_t kImageSizeAt = 16;
constexpr size_t kDescriptionOffsetAt = 24;
constexpr size_t kDescriptionSizeAt = 32;
constexpr size_t kReservedAt = 36;
constexpr size_t kFileSizeAt = 40;
constexpr size_t kImageDigestAt = 48;
constexpr size_t kDescriptionDigestAt = 80;
constexpr size_t kUnusedAt = 112;
constexpr size_t kTrailerDigestAt = FunctionImageLayout::kTrailerSize - sizeof(Sha256Digest);

// fs/erofs/erofs_fs.h: struct erofs_super_block.
constexpr uint64_t kErofsSuperblockAt = 1024;
constexpr uint32_t kErofsMagic = 0xe0f5e1e2;
constexpr size_t kErofsBlockBitsAt = 12;
constexpr size_t kErofsBlocksAt = 36;

Sha256Digest LoadDigest(std::span<const uint8_t> bytes, size_t at) {
  return LoadLe<Sha256Digest>(bytes.subspan(at, sizeof(Sha256Digest)));
}

bool IsZero(std::span<const uint8_t> bytes) {
  return std::ranges::all_of(bytes, [](uint8_t byte) { return byte == 0; });
}

std::unexpected<Error> Corrupt(const std::string& name, std::string_view what) {
  return Fail(ErrorCode::kCorrupt, fmt::format("{}: {}", name, what));
}

}  // namespace

uint64_t FunctionImageLayout::file_size() const {
  return image_size + AlignUp<uint64_t>(description_size, kBlock) + kTrailerSize;
}

std::vector<uint8_t> EncodeFunctionImageTail(uint64_t image_size, const Sha256Digest& image_digest,
                                             const FunctionDescription& description) {
  const std::string json = Serialize(description);
  FunctionImageLayout layout;
  layout.image_size = image_size;
  layout.description_size = static_cast<uint32_t>(json.size());
  layout.image_digest = image_digest;
  layout.description_digest = DigestOf(AsBytes(json));

  std::vector<uint8_t> tail(layout.file_size() - image_size);
  std::ranges::copy(json, tail.begin());
  const std::span<uint8_t> trailer = std::span(tail).last(FunctionImageLayout::kTrailerSize);
  std::ranges::copy(kMagic, trailer.subspan(kMagicAt).begin());
  StoreLe(trailer.subspan(kVersionAt), FunctionImageLayout::kVersion);
  StoreLe(trailer.subspan(kTrailerSizeAt), static_cast<uint32_t>(trailer.size()));
  StoreLe(trailer.subspan(kImageSizeAt), layout.image_size);
  StoreLe(trailer.subspan(kDescriptionOffsetAt), layout.image_size);
  StoreLe(trailer.subspan(kDescriptionSizeAt), layout.description_size);
  StoreLe(trailer.subspan(kFileSizeAt), layout.file_size());
  StoreLe(trailer.subspan(kImageDigestAt), layout.image_digest);
  StoreLe(trailer.subspan(kDescriptionDigestAt), layout.description_digest);
  StoreLe(trailer.subspan(kTrailerDigestAt), DigestOf(trailer.first(kTrailerDigestAt)));
  return tail;
}

Result<FunctionImageLayout> DecodeFunctionImageTrailer(std::span<const uint8_t> trailer,
                                                       uint64_t file_size,
                                                       const std::string& name) {
  if (trailer.size() != FunctionImageLayout::kTrailerSize ||
      AsText(trailer.first(kMagic.size())) != kMagic) {
    return Corrupt(name, "not a function image: it does not end with a trailer");
  }
  const auto version = LoadLe<uint32_t>(trailer.subspan(kVersionAt));
  if (version != FunctionImageLayout::kVersion) {
    return Corrupt(name, fmt::format("format version {}, this mayfly reads version {}", version,
                                     FunctionImageLayout::kVersion));
  }
  if (LoadDigest(trailer, kTrailerDigestAt) != DigestOf(trailer.first(kTrailerDigestAt))) {
    return Corrupt(name, "trailer: its digest is not the stored one");
  }

  // From here on the trailer is what somebody wrote, who may still mean harm.
  if (LoadLe<uint32_t>(trailer.subspan(kTrailerSizeAt)) != trailer.size()) {
    return Corrupt(name, "trailer: trailer size is not 4096");
  }
  if (LoadLe<uint32_t>(trailer.subspan(kReservedAt)) != 0 ||
      !IsZero(trailer.subspan(kUnusedAt, kTrailerDigestAt - kUnusedAt))) {
    return Corrupt(name, "trailer: reserved bytes are not zero");
  }
  FunctionImageLayout layout;
  layout.image_size = LoadLe<uint64_t>(trailer.subspan(kImageSizeAt));
  layout.description_size = LoadLe<uint32_t>(trailer.subspan(kDescriptionSizeAt));
  layout.image_digest = LoadDigest(trailer, kImageDigestAt);
  layout.description_digest = LoadDigest(trailer, kDescriptionDigestAt);
  if (LoadLe<uint64_t>(trailer.subspan(kFileSizeAt)) != file_size) {
    return Corrupt(name, fmt::format("trailer: file size {}, the file has {} bytes",
                                     LoadLe<uint64_t>(trailer.subspan(kFileSizeAt)), file_size));
  }
  if (layout.description_size == 0 ||
      layout.description_size > FunctionImageLayout::kMostDescription) {
    return Corrupt(
        name, fmt::format("trailer: description size {}, expected 1 to {}", layout.description_size,
                          FunctionImageLayout::kMostDescription));
  }
  const uint64_t tail_size =
      AlignUp<uint64_t>(layout.description_size, kBlock) + FunctionImageLayout::kTrailerSize;
  if (layout.image_size == 0 || !IsAligned(layout.image_size, kBlock) || tail_size > file_size ||
      layout.image_size != file_size - tail_size) {
    return Corrupt(name, fmt::format("trailer: image size {} does not fit a file of {} bytes",
                                     layout.image_size, file_size));
  }
  if (LoadLe<uint64_t>(trailer.subspan(kDescriptionOffsetAt)) != layout.image_size) {
    return Corrupt(name, "trailer: description offset is not the image size");
  }
  return layout;
}

Result<uint64_t> ErofsSize(int fd, const std::string& name) {
  std::array<uint8_t, 128> superblock{};
  TRY(ReadExactAt(fd, superblock, kErofsSuperblockAt, name));
  const std::span<const uint8_t> bytes(superblock);
  if (LoadLe<uint32_t>(bytes) != kErofsMagic) {
    return Corrupt(name, "image: no EROFS file system");
  }
  if (superblock[kErofsBlockBitsAt] != 12) {
    return Corrupt(name, fmt::format("image: EROFS block size 2^{}, expected 2^12",
                                     superblock[kErofsBlockBitsAt]));
  }
  return uint64_t{LoadLe<uint32_t>(bytes.subspan(kErofsBlocksAt))} * kBlock;
}

Result<FunctionImage> FunctionImage::Open(const std::string& path) {
  // Without O_NONBLOCK a FIFO of that name would hold us until somebody writes to it.
  UniqueFd fd = TRY(OpenFile(path, O_RDONLY | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return FailErrno("stat " + path);
  if (!S_ISREG(status.st_mode)) return Corrupt(path, "not a regular file");
  const auto file_size = static_cast<uint64_t>(status.st_size);
  if (file_size < 3 * kBlock || !IsAligned(file_size, kBlock)) {
    return Corrupt(path, fmt::format("not a function image, or cut short: {} bytes, expected a "
                                     "multiple of 4096, at least {}",
                                     file_size, 3 * kBlock));
  }

  std::vector<uint8_t> trailer(FunctionImageLayout::kTrailerSize);
  TRY(ReadExactAt(fd.get(), trailer, file_size - trailer.size(), path));
  const FunctionImageLayout layout = TRY(DecodeFunctionImageTrailer(trailer, file_size, path));

  std::vector<uint8_t> block(AlignUp<uint64_t>(layout.description_size, kBlock));
  TRY(ReadExactAt(fd.get(), block, layout.image_size, path));
  const auto json = std::span<const uint8_t>(block).first(layout.description_size);
  if (DigestOf(json) != layout.description_digest) {
    return Corrupt(path, "description: its digest is not the one in the trailer");
  }
  if (!IsZero(std::span(block).subspan(layout.description_size))) {
    return Corrupt(path, "description: the padding behind it is not zero");
  }
  FunctionDescription description =
      TRY(ParseFunctionDescription(AsText(json), path + ": description"));
  if (TRY(ErofsSize(fd.get(), path)) > layout.image_size) {
    return Corrupt(path, "image: the file system is larger than its place");
  }
  return FunctionImage(path, std::move(fd), layout, std::move(description));
}

Result<void> FunctionImage::Verify(const std::stop_token& stop) const {
  if (TRY(DigestOfFile(fd_.get(), layout_.image_size, path_, stop)) != layout_.image_digest) {
    return Corrupt(path_, "image: its digest is not the one in the trailer");
  }
  return {};
}

Result<FunctionImage> FunctionImage::Duplicate() const {
  return FunctionImage(path_, TRY(fd_.Duplicate()), layout_, description_);
}

}  // namespace mayfly
