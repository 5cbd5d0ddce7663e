#include "devices/virtio/blk/overlay_disk.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "base/file.h"

namespace mayfly {
namespace {

constexpr uint64_t kBlock = LayerHeader::kBlockSize;
constexpr uint64_t kWordBits = 64;
constexpr uint64_t kPageBits = kBlock * 8;  // Blocks that a page of the bitmap tells of.
constexpr uint64_t kPageWords = kBlock / sizeof(uint64_t);

iovec IovecOf(std::span<uint8_t> bytes) { return {bytes.data(), bytes.size()}; }

// The iovecs of [offset, offset + length) of what `iovecs` describe.
std::vector<iovec> Slice(std::span<const iovec> iovecs, uint64_t offset, uint64_t length) {
  std::vector<iovec> slice;
  for (const iovec& part : iovecs) {
    if (length == 0) break;
    if (offset >= part.iov_len) {
      offset -= part.iov_len;
      continue;
    }
    const uint64_t count = std::min<uint64_t>(part.iov_len - offset, length);
    slice.push_back({static_cast<uint8_t*>(part.iov_base) + offset, count});
    length -= count;
    offset = 0;
  }
  return slice;
}

uint64_t LengthOf(std::span<const iovec> iovecs) {
  uint64_t length = 0;
  for (const iovec& part : iovecs) length += part.iov_len;
  return length;
}

// Makes an empty file a layer without blocks. The header is last: before it, the file is none. The
// bitmap gets its space now, so that a full file system cannot keep it from being flushed.
Result<void> Format(int fd, const LayerHeader& header, const std::string& name) {
  if (::ftruncate(fd, static_cast<off_t>(header.file_size)) != 0) {
    return FailErrno("set the size of " + name);
  }
  if (::fallocate(fd, 0, 0, static_cast<off_t>(header.data_offset)) != 0 && errno != EOPNOTSUPP) {
    return FailErrno("allocate " + name);
  }
  if (::fdatasync(fd) != 0) return FailErrno("sync " + name);
  const std::span<const uint8_t> bytes = BytesOf(header);
  if (::pwrite(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return FailErrno("write " + name);
  }
  if (::fdatasync(fd) != 0) return FailErrno("sync " + name);
  return {};
}

// O_EXCL: a file that somebody else makes in between is not taken for a new one.
Result<UniqueFd> OpenLayer(const std::string& path, bool* created) {
  auto existing = OpenFile(path, O_RDWR);
  *created = !existing && existing.error().errno_value() == ENOENT;
  return *created ? OpenFile(path, O_RDWR | O_CREAT | O_EXCL, 0600) : std::move(existing);
}

}  // namespace

Result<std::unique_ptr<OverlayDisk>> OverlayDisk::Open(std::unique_ptr<RawDisk> base,
                                                       const std::string& path) {
  bool created = false;
  UniqueFd fd = TRY(OpenLayer(path, &created));
  auto disk = Create(std::move(base), std::move(fd), path);
  if (!disk && created) ::unlink(path.c_str());
  return disk;
}

Result<std::unique_ptr<OverlayDisk>> OverlayDisk::Create(std::unique_ptr<RawDisk> base,
                                                         UniqueFd layer, const std::string& name) {
  const uint64_t size = AlignDown<uint64_t>(base->info().size, 512);
  if (size > LayerHeader::kMostDiskBytes) {
    return Fail(ErrorCode::kTooLarge, fmt::format("{}: a base of {} bytes, but {} are the most",
                                                  base->name(), size, LayerHeader::kMostDiskBytes));
  }
  const LayerHeader expected = LayerHeader::For(size);
  const int fd = layer.get();
  if (TRY(FileSize(fd, name)) == 0) TRY(Format(fd, expected, name));
  // After that, because it remembers the size. It locks the file.
  std::unique_ptr<RawDisk> file = TRY(RawDisk::Create(std::move(layer), name, false));
  LayerHeader header{};
  if (file->info().size < sizeof(header)) {
    return Fail(ErrorCode::kCorrupt, name + ": is not an overlay's layer");
  }
  TRY(ReadExactAt(fd, MutableBytesOf(header), 0, name));
  TRY(CheckLayerHeader(header, expected, name));
  if (file->info().size != expected.file_size) {
    return Fail(ErrorCode::kCorrupt, fmt::format("{}: the file has {} bytes, its header says {}",
                                                 name, file->info().size, expected.file_size));
  }
  std::unique_ptr<OverlayDisk> disk(new OverlayDisk(std::move(base), std::move(file), expected));
  TRY(disk->LoadBitmap());
  return disk;
}

OverlayDisk::OverlayDisk(std::unique_ptr<RawDisk> base, std::unique_ptr<RawDisk> layer,
                         const LayerHeader& header)
    : base_(std::move(base)),
      layer_(std::move(layer)),
      header_(header),
      info_{.size = header.disk_size,
            .read_only = false,
            .physical_block_size = static_cast<uint32_t>(kBlock)},
      bitmap_(header.bitmap_size() / sizeof(uint64_t)),
      dirty_(header.bitmap_size() / kBlock) {}

OverlayDisk::~OverlayDisk() {
  // If it fails, what the guest has not flushed is lost, as from a disk whose power goes.
  IgnoreFailure(Flush());
}

// Any bits are right: those beyond the last block are never looked at.
Result<void> OverlayDisk::LoadBitmap() {
  std::vector<uint64_t> page(kPageWords);
  const iovec part{page.data(), kBlock};
  for (size_t i = 0; i < dirty_.size(); ++i) {
    TRY(layer_->Read({&part, 1}, header_.bitmap_offset + i * kBlock));
    for (size_t word = 0; word < kPageWords; ++word) {
      bitmap_[i * kPageWords + word].store(page[word], std::memory_order_relaxed);
    }
  }
  return {};
}

bool OverlayDisk::InLayer(uint64_t block) const {
  const uint64_t word = bitmap_[block / kWordBits].load(std::memory_order_acquire);
  return (word >> (block % kWordBits) & 1) != 0;
}

OverlayDisk::Run OverlayDisk::RunAt(uint64_t offset, uint64_t most) const {
  uint64_t block = offset / kBlock;
  const bool in_layer = InLayer(block);
  uint64_t end = (block + 1) * kBlock;
  while (end - offset < most && InLayer(++block) == in_layer) end += kBlock;
  return {in_layer, std::min(end - offset, most)};
}

Result<void> OverlayDisk::Read(std::span<const iovec> to, uint64_t offset) {
  const uint64_t length = LengthOf(to);
  for (uint64_t done = 0; done < length;) {
    const Run run = RunAt(offset + done, length - done);
    const std::vector<iovec> part = Slice(to, done, run.length);
    if (run.in_layer) {
      TRY(layer_->Read(part, header_.data_offset + offset + done));
    } else {
      TRY(base_->Read(part, offset + done));
    }
    done += run.length;
  }
  return {};
}

bool OverlayDisk::ReadNow(std::span<const iovec> to, uint64_t offset) {
  const uint64_t length = LengthOf(to);
  for (uint64_t done = 0; done < length;) {
    const Run run = RunAt(offset + done, length - done);
    const std::vector<iovec> part = Slice(to, done, run.length);
    const bool read = run.in_layer ? layer_->ReadNow(part, header_.data_offset + offset + done)
                                   : base_->ReadNow(part, offset + done);
    if (!read) return false;
    done += run.length;
  }
  return true;
}

Result<void> OverlayDisk::Write(std::span<const iovec> from, uint64_t offset) {
  const uint64_t length = LengthOf(from);
  if (length == 0) return {};
  TRY(CopyUpEdges(offset, length));
  TRY(layer_->Write(from, header_.data_offset + offset));
  MarkInLayer(offset, length);
  return {};
}

// At most the first block and the last are written in part.
Result<void> OverlayDisk::CopyUpEdges(uint64_t offset, uint64_t length) {
  const uint64_t end = offset + length;
  if (offset % kBlock != 0 || length < kBlock) TRY(CopyUp(offset / kBlock));
  if (end % kBlock != 0 && end / kBlock != offset / kBlock) TRY(CopyUp(end / kBlock));
  return {};
}

Result<void> OverlayDisk::CopyUp(uint64_t block) {
  if (InLayer(block)) return {};
  std::array<uint8_t, kBlock> bytes;
  const uint64_t offset = block * kBlock;
  const iovec part = IovecOf(std::span(bytes).first(std::min(kBlock, info_.size - offset)));
  TRY(base_->Read({&part, 1}, offset));
  return layer_->Write({&part, 1}, header_.data_offset + offset);
}

void OverlayDisk::MarkInLayer(uint64_t offset, uint64_t length) {
  const uint64_t last = (offset + length - 1) / kBlock;
  for (uint64_t block = offset / kBlock; block <= last; ++block) {
    const uint64_t bit = 1ULL << (block % kWordBits);
    const uint64_t old = bitmap_[block / kWordBits].fetch_or(bit, std::memory_order_release);
    if ((old & bit) == 0) dirty_[block / kPageBits] = true;
  }
}

Result<void> OverlayDisk::Flush() {
  // First the blocks, then what tells of them.
  TRY(layer_->Flush());
  if (std::ranges::find(dirty_, true) == dirty_.end()) return {};
  std::vector<uint64_t> page(kPageWords);
  const iovec part{page.data(), kBlock};
  for (size_t i = 0; i < dirty_.size(); ++i) {
    if (!dirty_[i]) continue;
    for (size_t word = 0; word < kPageWords; ++word) {
      page[word] = bitmap_[i * kPageWords + word].load(std::memory_order_relaxed);
    }
    TRY(layer_->Write({&part, 1}, header_.bitmap_offset + i * kBlock));
    dirty_[i] = false;
  }
  return layer_->Flush();
}

Result<void> OverlayDisk::Discard(uint64_t offset, uint64_t length) {
  // Whole blocks, so that no neighbour is lost.
  const uint64_t end = AlignDown(offset + length, kBlock);
  for (uint64_t at = AlignUp(offset, kBlock); at < end;) {
    const Run run = RunAt(at, end - at);
    if (run.in_layer) TRY(layer_->Discard(header_.data_offset + at, run.length));
    at += run.length;
  }
  return {};
}

Result<void> OverlayDisk::WriteZeroes(uint64_t offset, uint64_t length, bool may_unmap) {
  if (length == 0) return {};
  TRY(CopyUpEdges(offset, length));
  TRY(layer_->WriteZeroes(header_.data_offset + offset, length, may_unmap));
  MarkInLayer(offset, length);
  return {};
}

}  // namespace mayfly
