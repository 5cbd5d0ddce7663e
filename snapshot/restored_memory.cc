#include "snapshot/restored_memory.h"

#include "snapshot/fill_memory.h"
#include "snapshot/local_pager.h"
#include "snapshot/page_source.h"

namespace mayfly {
namespace {

Result<void> CheckOnce(MemoryImage& image, const MemoryOptions& options) {
  if (options.unverified) return {};
  if (options.stamps == nullptr) return image.CheckAll();
  const std::string stamp = TRY(VerifiedStamps::StampOf(image.fd(), options.manifest));
  if (options.stamps->Has(stamp)) return {};
  TRY(image.CheckAll());
  return options.stamps->Add(stamp);
}

Result<RestoredMemory> RestoreMapped(MemoryImage& image, const MemoryOptions& options) {
  TRY(CheckOnce(image, options));
  auto memory = TRY(GuestMemory::MapPrivate(image.bytes(), image.fd()));
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
      TRY(stamped ? MappedPages::Create(std::move(image)) : CheckedPages::Create(std::move(image)));
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
  TRY(stamped ? ReadMemoryFile(image.fd(), *memory) : ReadChecked(image, *memory));
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
