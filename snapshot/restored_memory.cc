#include "snapshot/restored_memory.h"

#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "snapshot/fill_memory.h"
#include "snapshot/local_pager.h"
#include "snapshot/page_source.h"

namespace mayfly {
namespace {

using Extent = MemoryLayers::Extent;

// A mapping of its own costs as much as copying two or three pages, each time one is looked up
// among them, and a process has 65,530 at most: what a hostile or much-divided list asks for beyond
// is copied.
constexpr size_t kMostMappedExtents = 512;

Result<void> CheckOnce(MemoryImage& image, const MemoryOptions& options) {
  if (options.unverified) return {};
  if (options.stamps == nullptr) return image.CheckAll();
  const std::string stamp = TRY(VerifiedStamps::StampOf(image.layers().fds(), options.manifest));
  if (options.stamps->Has(stamp)) return {};
  TRY(image.CheckAll());
  return options.stamps->Add(stamp);
}

Result<void> CopyOver(const MemoryLayers& layers, GuestMemory& memory, const Extent& extent) {
  std::vector<uint8_t> buffer(MemoryLayout::kChunk);
  for (uint64_t at = extent.start; at < extent.end;) {
    const auto bytes = std::span(buffer).first(
        std::min<uint64_t>(buffer.size(), LengthInRegion(memory, at, extent.end - at)));
    TRY(layers.Read(at, bytes));
    if (!memory.Write(AddressOf(memory, at), bytes)) {
      return Fail(ErrorCode::kHost, "memory: a region has changed");
    }
    at += bytes.size();
  }
  return {};
}

// Puts what is over the lowest layer over its mapping: the largest extents are mapped too.
Result<void> MapUpperLayers(const MemoryLayers& layers, GuestMemory& memory) {
  std::vector<Extent> upper;
  for (const Extent& extent : layers.extents()) {
    if (extent.fd != layers.lowest_fd()) upper.push_back(extent);
  }
  const size_t mapped = std::min(upper.size(), kMostMappedExtents);
  std::ranges::nth_element(upper, upper.begin() + static_cast<ptrdiff_t>(mapped), std::greater(),
                           [](const Extent& extent) { return extent.end - extent.start; });
  for (Extent extent : std::span(upper).first(mapped)) {
    while (extent.start < extent.end) {
      const uint64_t length = LengthInRegion(memory, extent.start, extent.end - extent.start);
      TRY(memory.MapOver(AddressOf(memory, extent.start), length, extent.fd, extent.start));
      extent.start += length;
    }
  }
  for (const Extent& extent : std::span(upper).subspan(mapped)) {
    TRY(CopyOver(layers, memory, extent));
  }
  return {};
}

Result<RestoredMemory> RestoreMapped(MemoryImage& image, const MemoryOptions& options) {
  TRY(CheckOnce(image, options));
  auto memory = TRY(GuestMemory::MapPrivate(image.bytes(), image.layers().lowest_fd()));
  TRY(MapUpperLayers(image.layers(), *memory));
  if (options.working_set != nullptr) PopulateAhead(*memory, *options.working_set);
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
      TRY(stamped ? TrustedPages(std::move(image)) : CheckedPages::Create(std::move(image)));
  auto pager = TRY(LocalPager::Create(memory.get(), Userfaultfd::Mode::kMissing, std::move(source),
                                      options.pager));
  if (options.working_set != nullptr) TRY(pager->PushAhead(*options.working_set));
  return RestoredMemory{std::move(memory), std::move(pager)};
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
  TRY(stamped ? ReadLayers(image.layers(),
                           [&](uint64_t at, uint64_t length) {
                             return memory->Iovec(AddressOf(*memory, at),
                                                  LengthInRegion(*memory, at, length));
                           })
              : ReadChecked(image, *memory));
  return RestoredMemory{std::move(memory), nullptr};
}

}  // namespace

Result<MemoryOptions> SettleStamps(MemoryImage& image, MemoryOptions options) {
  if (options.way == MemoryWay::kMap) {
    TRY(CheckOnce(image, options));
    options.unverified = true;
  } else {
    options.unverified = TRY(IsStamped(image, options));
  }
  options.stamps = nullptr;
  return options;
}

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
