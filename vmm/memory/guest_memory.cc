#include "vmm/memory/guest_memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "base/arithmetic.h"
#include "base/check.h"
#include "vmm/memory/guarded_access.h"

namespace mayfly {
namespace {

// The same pages, in order and each once.
std::vector<PageRange> Joined(std::vector<PageRange> ranges) {
  std::ranges::sort(ranges, {}, &PageRange::start);
  std::vector<PageRange> joined;
  for (const PageRange& range : ranges) {
    if (!joined.empty() && range.start <= joined.back().end) {
      joined.back().end = std::max(joined.back().end, range.end);
    } else {
      joined.push_back(range);
    }
  }
  return joined;
}

}  // namespace

Result<std::unique_ptr<GuestMemory>> GuestMemory::Create(uint64_t size) {
  return CreateFrom(size, [](uint64_t, uint64_t length) { return Mapping::AnonymousHuge(length); });
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::MapPrivate(uint64_t size, int fd) {
  auto memory = TRY(CreateFrom(size, [fd](uint64_t offset, uint64_t length) {
    return Mapping::PrivateFile(fd, offset, length);
  }));
  memory->SetFilledOnTouch();
  return memory;
}

Result<void> GuestMemory::MapOver(int fd) {
  uint64_t offset = 0;
  for (const MemoryRegion& region : regions_) {
    void* const mapped =
        ::mmap(region.host, region.size, PROT_READ | PROT_WRITE,
               MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd, static_cast<off_t>(offset));
    if (mapped == MAP_FAILED) return FailErrno("guest memory: map a file");
    if (::madvise(region.host, region.size, MADV_DONTDUMP) != 0) {
      return FailErrno("madvise(MADV_DONTDUMP)");
    }
    offset += region.size;
  }
  SetFilledOnTouch();
  return {};
}

Result<std::unique_ptr<GuestMemory>> GuestMemory::CreateFrom(uint64_t size, const MapRegion& map) {
  if (size == 0 || !IsAligned(size, kPageSize) || size > (1ULL << 46)) {
    return Fail(ErrorCode::kInvalidArgument,
                "guest memory: " + std::to_string(size) + " bytes is no whole number of pages");
  }
  InstallGuardedAccess();
  std::unique_ptr<GuestMemory> memory(new GuestMemory());
  memory->size_ = size;
  const uint64_t low = std::min(size, kHoleStart);
  const std::array<std::pair<uint64_t, uint64_t>, 2> ranges{{{0, low}, {kHoleEnd, size - low}}};
  uint64_t offset = 0;
  for (const auto& [start, length] : ranges) {
    if (length == 0) continue;
    Mapping mapping = TRY(WithContext(map(offset, length), "guest memory"));
    memory->regions_.push_back({GuestAddress{start}, length, mapping.data()});
    memory->mappings_.push_back(std::move(mapping));
    offset += length;
  }
  return memory;
}

uint8_t* GuestMemory::Translate(GuestAddress address, uint64_t length) const {
  for (const MemoryRegion& region : regions_) {
    if (address < region.start) continue;
    const uint64_t offset = address.value - region.start.value;
    if (RangeFits(offset, length, region.size)) return region.host + offset;
  }
  return nullptr;
}

bool GuestMemory::Read(GuestAddress address, std::span<uint8_t> out) const {
  const uint8_t* host = Translate(address, out.size());
  if (host == nullptr) return false;
  return GuardedCopy(out.data(), host, out.size()) || Lose(address);
}

bool GuestMemory::Write(GuestAddress address, std::span<const uint8_t> bytes) const {
  uint8_t* host = Translate(address, bytes.size());
  if (host == nullptr) return false;
  return GuardedCopy(host, bytes.data(), bytes.size()) || Lose(address);
}

bool GuestMemory::Fill(GuestAddress address, uint8_t value, uint64_t length) const {
  uint8_t* host = Translate(address, length);
  if (host == nullptr) return false;
  return GuardedFill(host, value, length) || Lose(address);
}

bool GuestMemory::LoadAcquire16(GuestAddress address, uint16_t* out) const {
  uint8_t* host = Translate(address, sizeof(uint16_t));
  if (host == nullptr || !IsAligned<uint64_t>(address.value, 2)) return false;
  return GuardedLoad16(reinterpret_cast<const uint16_t*>(host), out) || Lose(address);
}

bool GuestMemory::StoreRelease16(GuestAddress address, uint16_t value) const {
  uint8_t* host = Translate(address, sizeof(uint16_t));
  if (host == nullptr || !IsAligned<uint64_t>(address.value, 2)) return false;
  return GuardedStore16(reinterpret_cast<uint16_t*>(host), value) || Lose(address);
}

bool GuestMemory::Lose(GuestAddress address) const {
  if (on_lost_) on_lost_(address);
  return false;
}

Result<void> GuestMemory::Discard(GuestAddress address, uint64_t length) const {
  if (!Contains(address, length)) {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("discard: {} bytes at {:#x} are not all RAM", length, address.value));
  }
  // Page boundaries of the guest's are the host's: regions start on one in both.
  const uint64_t start = AlignUp(address.value, kPageSize);
  const uint64_t end = AlignDown(address.value + length, kPageSize);
  if (start >= end) return {};
  uint8_t* const host = Translate(GuestAddress{start}, end - start);
  if (filled_on_touch_) return Replace(host, end - start);
  if (::madvise(host, end - start, MADV_DONTNEED) != 0) return FailErrno("madvise(MADV_DONTNEED)");
  return {};
}

Result<void> GuestMemory::Replace(uint8_t* host, uint64_t length) const {
  const auto start = reinterpret_cast<uint64_t>(host);
  MutexLock lock(mutex_);
  if (replaced_.size() >= kMostReplacements) {
    if (!GuardedFill(host, 0, length)) return Fail(ErrorCode::kHost, "discard: a page is gone");
    return {};
  }
  TRY(MapZeros(host, length));
  replaced_.push_back({start, start + length});
  return {};
}

Result<void> GuestMemory::MapZeros(uint8_t* host, uint64_t length) {
  void* const mapped = ::mmap(host, length, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  if (mapped == MAP_FAILED) return FailErrno("mmap");
  if (::madvise(host, length, MADV_DONTDUMP) != 0) return FailErrno("madvise(MADV_DONTDUMP)");
  return {};
}

Result<void> GuestMemory::MapOver(GuestAddress address, uint64_t length, int fd, uint64_t offset) {
  uint8_t* const host = Translate(address, length);
  CHECK(host != nullptr && length > 0 && IsAligned(address.value | length | offset, kPageSize));
  void* const mapped =
      ::mmap(host, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, fd,
             static_cast<off_t>(offset));
  if (mapped == MAP_FAILED) return FailErrno("guest memory: mmap");
  if (::madvise(host, length, MADV_DONTDUMP) != 0) return FailErrno("madvise(MADV_DONTDUMP)");
  return {};
}

Result<std::vector<PageRange>> GuestMemory::PopulatedRanges(const MemoryRegion& region) const {
  if (filled_on_touch_) return std::vector<PageRange>{{0, region.size}};
  return ScanPages(region.host, region.size, PageKind::kPopulated);
}

Result<std::vector<PageRange>> GuestMemory::ChangedRanges(const MemoryRegion& region) const {
  if (!filled_on_touch_) return std::vector<PageRange>{{0, region.size}};
  std::vector<PageRange> ranges = TRY(ScanPages(region.host, region.size, PageKind::kPrivate));
  const auto start = reinterpret_cast<uint64_t>(region.host);
  MutexLock lock(mutex_);
  for (const PageRange& range : replaced_) {
    if (range.start < start || range.start >= start + region.size) continue;
    ranges.push_back({range.start - start, range.end - start});
  }
  return Joined(std::move(ranges));
}

bool GuestMemory::IsZero(GuestAddress address, uint64_t length) const {
  constexpr std::array<uint8_t, 512> kZeros{};
  std::array<uint8_t, kZeros.size()> bytes;
  const uint8_t* const host = Translate(address, length);
  if (host == nullptr) return false;
  for (uint64_t at = 0; at < length; at += bytes.size()) {
    const uint64_t size = std::min<uint64_t>(bytes.size(), length - at);
    if (!GuardedCopy(bytes.data(), host + at, size)) return Lose(address);
    if (std::memcmp(bytes.data(), kZeros.data(), size) != 0) return false;
  }
  return true;
}

bool GuestMemory::Populate(GuestAddress address, uint64_t length, bool for_writing) const {
  uint8_t* const host = Translate(address, length);
  if (host == nullptr) return false;
  return ::madvise(host, length, for_writing ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0;
}

iovec GuestMemory::Iovec(GuestAddress address, uint64_t length) const {
  uint8_t* host = Translate(address, length);
  if (host == nullptr) return {nullptr, 0};
  return {host, length};
}

}  // namespace mayfly
