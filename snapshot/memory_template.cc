#include "snapshot/memory_template.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/mapping.h"
#include "snapshot/fill_memory.h"
#include "snapshot/local_pager.h"
#include "snapshot/page_source.h"

namespace mayfly {
namespace {

constexpr uint64_t kPage = GuestMemory::kPageSize;
constexpr int kSeals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

bool IsZero(std::span<const uint8_t> page) {
  return page[0] == 0 && std::memcmp(page.data(), page.data() + 1, page.size() - 1) == 0;
}

Result<void> FillWith(MemoryImage& image, const MemoryOptions& options, std::span<uint8_t> to) {
  if (TRY(IsStamped(image, options))) {
    return ReadLayers(image.layers(),
                      [&](uint64_t at, uint64_t length) { return iovec{to.data() + at, length}; });
  }
  TRY(image.ForEachCheckedChunk(
      [&](uint64_t offset, std::span<const uint8_t> chunk) -> Result<void> {
        for (uint64_t at = 0; at < chunk.size(); at += kPage) {
          const auto page = chunk.subspan(at, kPage);
          if (!IsZero(page))
            std::ranges::copy(page, to.begin() + static_cast<ptrdiff_t>(offset + at));
        }
        return {};
      }));
  return {};
}

}  // namespace

Result<std::unique_ptr<MemoryTemplate>> MemoryTemplate::Create(std::unique_ptr<MemoryImage> image,
                                                               const MemoryOptions& options) {
  const uint64_t bytes = image->bytes();
  UniqueFd fd(::memfd_create("mayfly-template", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return FailErrno("memfd_create");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) return FailErrno("ftruncate");
  {
    const Mapping contents =
        TRY(Mapping::File(fd.get(), 0, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE));
    TRY(FillWith(*image, options, {contents.data(), bytes}));
  }
  // Refused as long as somebody could write through a mapping.
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) return FailErrno("F_ADD_SEALS");
  return std::unique_ptr<MemoryTemplate>(new MemoryTemplate(std::move(fd), bytes));
}

Result<std::unique_ptr<MemoryTemplate>> MemoryTemplate::Adopt(UniqueFd fd, uint64_t bytes) {
  struct stat status{};
  if (::fstat(fd.get(), &status) != 0) return FailErrno("stat a template");
  const int seals = ::fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0) return FailErrno("F_GET_SEALS");
  if ((seals & kSeals) != kSeals || static_cast<uint64_t>(status.st_size) != bytes) {
    return Fail(ErrorCode::kInvalidArgument,
                "not a template's memory: another size, or without its seals");
  }
  return std::unique_ptr<MemoryTemplate>(new MemoryTemplate(std::move(fd), bytes));
}

Result<RestoredMemory> MemoryTemplate::Clone(const MemoryOptions& options) const {
  if (options.way == MemoryWay::kEager) {
    auto memory = TRY(GuestMemory::Create(bytes_));
    TRY(ReadMemoryFile(fd_.get(), *memory));
    return RestoredMemory{std::move(memory), nullptr};
  }
  auto memory = TRY(GuestMemory::MapPrivate(bytes_, fd_.get()));
  if (options.way == MemoryWay::kMap) {
    if (options.working_set != nullptr) PopulateAhead(*memory, *options.working_set);
    return RestoredMemory{std::move(memory), nullptr};
  }
  auto pager = TRY(LocalPager::Create(memory.get(), Userfaultfd::Mode::kMinor,
                                      std::make_unique<PresentPages>(), options.pager));
  if (options.working_set != nullptr) TRY(pager->PushAhead(*options.working_set));
  return RestoredMemory{std::move(memory), std::move(pager)};
}

}  // namespace mayfly
