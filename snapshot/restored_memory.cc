#include "snapshot/restored_memory.h"

#include <fmt/format.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>

#include "base/file.h"
#include "snapshot/local_pager.h"
#include "snapshot/page_source.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;

Result<bool> IsStamped(const MemoryImage& image, const MemoryOptions& options) {
  if (options.unverified) return true;
  if (options.stamps == nullptr) return false;
  return options.stamps->Has(TRY(VerifiedStamps::StampOf(image.fd(), options.manifest)));
}

Result<void> CheckOnce(MemoryImage& image, const MemoryOptions& options) {
  if (options.unverified) return {};
  if (options.stamps == nullptr) return image.CheckAll();
  const std::string stamp = TRY(VerifiedStamps::StampOf(image.fd(), options.manifest));
  if (options.stamps->Has(stamp)) return {};
  TRY(image.CheckAll());
  return options.stamps->Add(stamp);
}

GuestAddress AddressOf(const GuestMemory& memory, uint64_t offset) {
  for (const MemoryRegion& region : memory.regions()) {
    if (offset < region.size) return region.start + offset;
    offset -= region.size;
  }
  return GuestAddress{~0ULL};
}

// All of it before KVM knows the memory: populated beside the guest, each page that is made
// writable would be taken away from the guest once more.
void Populate(const GuestMemory& memory, const WorkingSet& set) {
  for (const WorkingSetRun& run : set.runs) {
    memory.Populate(AddressOf(memory, run.page * kPage), run.count * kPage, run.written);
  }
}

Result<RestoredMemory> RestoreMapped(MemoryImage& image, const MemoryOptions& options) {
  TRY(CheckOnce(image, options));
  auto memory = TRY(GuestMemory::MapPrivate(image.bytes(), image.fd()));
  if (options.working_set != nullptr) Populate(*memory, *options.working_set);
  return RestoredMemory{std::move(memory), nullptr};
}

Result<RestoredMemory> RestorePaged(std::unique_ptr<MemoryImage> image,
                                    const MemoryOptions& options) {
  auto memory = TRY(GuestMemory::Create(image->bytes()));
  if (options.remote != nullptr) {
    auto remote = TRY(RemotePager::Create(memory.get(), *options.remote));
    return RestoredMemory{std::move(memory), std::move(remote)};
  }
  const bool stamped = TRY(IsStamped(*image, options));
  auto source =
      TRY(stamped ? MappedPages::Create(std::move(image)) : CheckedPages::Create(std::move(image)));
  auto pager = TRY(LocalPager::Create(memory.get(), Userfaultfd::Mode::kMissing, std::move(source),
                                      options.pager));
  if (options.working_set != nullptr) TRY(pager->PushAhead(*options.working_set));
  return RestoredMemory{std::move(memory), std::move(pager)};
}

// Straight into guest memory, holes left out.
Result<void> ReadData(const MemoryImage& image, const GuestMemory& memory) {
  uint64_t offset = 0;
  for (const MemoryRegion& region : memory.regions()) {
    uint64_t at = 0;
    while (at < region.size) {
      const off_t data = ::lseek(image.fd(), static_cast<off_t>(offset + at), SEEK_DATA);
      if (data < 0 && errno == ENXIO) return {};
      if (data < 0) return FailErrno("memory: lseek(SEEK_DATA)");
      at = static_cast<uint64_t>(data) - offset;
      if (at >= region.size) break;
      const off_t hole = ::lseek(image.fd(), data, SEEK_HOLE);
      if (hole < 0) return FailErrno("memory: lseek(SEEK_HOLE)");
      const uint64_t end = std::min(static_cast<uint64_t>(hole) - offset, region.size);
      const iovec to = memory.Iovec(region.start + at, end - at);
      const ssize_t count = ::preadv(image.fd(), &to, 1, data);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return FailErrno("read memory");
      if (count == 0) return Fail(ErrorCode::kCorrupt, "memory: the file has become shorter");
      at += static_cast<uint64_t>(count);
    }
    offset += region.size;
  }
  return {};
}

Result<void> ReadChecked(MemoryImage& image, const GuestMemory& memory) {
  return image.ForEachCheckedChunk(
      [&](uint64_t offset, std::span<const uint8_t> contents) -> Result<void> {
        if (memory.Write(AddressOf(memory, offset), contents)) return {};
        return Fail(ErrorCode::kCorrupt, "memory: a chunk lies across two regions");
      });
}

Result<RestoredMemory> RestoreEagerly(MemoryImage& image, const MemoryOptions& options) {
  auto memory = TRY(GuestMemory::Create(image.bytes()));
  const bool stamped = TRY(IsStamped(image, options));
  TRY(stamped ? ReadData(image, *memory) : ReadChecked(image, *memory));
  return RestoredMemory{std::move(memory), nullptr};
}

}  // namespace

Result<RestoredMemory> RestoreMemory(std::unique_ptr<MemoryImage> image,
                                     const MemoryOptions& options) {
  switch (options.way) {
    case MemoryWay::kMap:
      return RestoreMapped(*image, options);
    case MemoryWay::kUffd:
      return RestorePaged(std::move(image), options);
    case MemoryWay::kEager:
      return RestoreEagerly(*image, options);
  }
  return Fail(ErrorCode::kInvalidArgument, "no such way to fill memory");
}

}  // namespace mayfly
