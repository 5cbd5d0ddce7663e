#include "guest-init/snapshot_point.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <span>
#include <vector>

#include "base/file.h"
#include "guest-init/mounts.h"
#include "guest-init/system.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

constexpr size_t kPageSize = 4096;
// How long the kernel's own threads get to send what was written to sockets. Init has a real-time
// priority, so they run when it sleeps.
constexpr timespec kSettle{.tv_sec = 0, .tv_nsec = 2'000'000};

// struct rand_pool_info, whose last member has no size.
struct Entropy {
  int bits;
  int size;
  std::array<uint8_t, sizeof(RestorePage::entropy)> bytes;
};

// With the line's end.
constexpr ssize_t kUuidText = 37;

// What stays free, out of reach of the OOM killer and above the watermarks at which the kernel
// begins to write to memory that it reclaims.
constexpr uint64_t kLeastFree = 8 << 20;
constexpr uint64_t kFreePart = 20;
// Small enough that what others take meanwhile shows in time.
constexpr uint64_t kStep = 32 << 20;

// An entry of /proc/self/pagemap: whether the page is there, and its number in physical memory.
constexpr uint64_t kPagePresent = 1ULL << 63;
constexpr uint64_t kPageNumber = (1ULL << 55) - 1;

// A run that is shorter costs more by being told than by being zero.
constexpr uint32_t kLeastRun = 16;

// Adds the numbers that the pages of `mapping` have in physical memory.
Result<void> AddPages(int pagemap, const Mapping& mapping, std::vector<uint32_t>& numbers) {
  std::array<uint64_t, kPageSize / sizeof(uint64_t)> entries{};
  const uint64_t first = reinterpret_cast<uint64_t>(mapping.data()) / kPageSize;
  const uint64_t count = mapping.size() / kPageSize;
  for (uint64_t at = 0; at < count; at += entries.size()) {
    const auto part = std::span(entries).first(std::min<uint64_t>(entries.size(), count - at));
    TRY(ReadExactAt(pagemap, {reinterpret_cast<uint8_t*>(part.data()), part.size_bytes()},
                    (first + at) * sizeof(uint64_t), "pagemap"));
    for (const uint64_t entry : part) {
      if ((entry & kPagePresent) != 0)
        numbers.push_back(static_cast<uint32_t>(entry & kPageNumber));
    }
  }
  return {};
}

// Again if the processor was somewhere else meanwhile, for the clock is late by that.
Result<void> SetClock(const RestorePage& page) {
  constexpr int kMostTimes = 8;
  constexpr uint64_t kLongNs = 50'000;
  for (int i = 0; i < kMostTimes; ++i) {
    const uint64_t now = page.WallClockAt(__rdtsc());
    TRY(SetWallClock(now));
    if (page.WallClockAt(__rdtsc()) - now <= kLongNs) break;
  }
  return {};
}

}  // namespace

Result<SnapshotPoint> SnapshotPoint::Create() {
  const UniqueFd memory = TRY(OpenFile("/dev/mem", O_RDWR));
  Mapping page = TRY(WithContext(
      Mapping::File(memory.get(), kRestorePageAddress, kPageSize, PROT_READ, MAP_SHARED),
      "restore page"));
  RestorePage contents{};
  std::memcpy(&contents, page.data(), sizeof(contents));
  if (contents.magic != RestorePage::kMagic || contents.version != RestorePage::kVersion) {
    return Fail(ErrorCode::kUnsupported, "the VMM has no restore page that this mayfly-init knows");
  }
  Mapping doorbell = TRY(
      WithContext(Mapping::File(memory.get(), kDoorbellAddress, kPageSize, PROT_WRITE, MAP_SHARED),
                  "doorbell"));
  Descriptors descriptors;
  descriptors.random = TRY(OpenFile("/dev/urandom", O_RDWR));
  descriptors.uuids = TRY(OpenFile("/proc/sys/kernel/random/uuid", O_RDONLY));
  descriptors.boot_id = TRY(OpenFile(kBootId, O_WRONLY));
  return SnapshotPoint(std::move(page), std::move(doorbell), std::move(descriptors));
}

Result<Platform::Life> SnapshotPoint::Pass() const {
  ::nanosleep(&kSettle, nullptr);
  const auto* const page = reinterpret_cast<const volatile RestorePage*>(page_.data());
  auto* const doorbell = reinterpret_cast<volatile uint32_t*>(doorbell_.data() + kDoorbellRing);
  const uint64_t generation = page->generation;
  do {
    *doorbell = kDoorbellReady;
  } while (page->generation == generation);
  // The VMM has filled the page while this processor did not run: only the compiler could read
  // something old.
  std::atomic_signal_fence(std::memory_order_acquire);
  RestorePage contents{};
  std::memcpy(&contents, page_.data(), sizeof(contents));
  TRY(Reseed(contents));
  TRY(RenewBootId());
  TRY(SetClock(contents));
  return Platform::Life{.await_restore = (contents.flags & RestorePage::kAwaitRestoreFrame) != 0};
}

Result<void> SnapshotPoint::Reseed(const RestorePage& page) const {
  const Entropy entropy{
      .bits = 8 * sizeof(page.entropy), .size = sizeof(page.entropy), .bytes = page.entropy};
  if (::ioctl(descriptors_.random.get(), RNDADDENTROPY, &entropy) != 0)
    return FailErrno("add entropy");
  if (::ioctl(descriptors_.random.get(), RNDRESEEDCRNG) != 0) return FailErrno("reseed");
  return {};
}

Result<void> SnapshotPoint::RenewBootId() const {
  std::array<uint8_t, kUuidText> text{};
  TRY(ReadExactAt(descriptors_.uuids.get(), text, 0, "uuid"));
  if (::pwrite(descriptors_.boot_id.get(), text.data(), text.size(), 0) != kUuidText) {
    return FailErrno("write the boot id");
  }
  return {};
}

Result<void> SnapshotPoint::Discard(const std::vector<Mapping>& unused) const {
  const UniqueFd pagemap = TRY(OpenFile("/proc/self/pagemap", O_RDONLY));
  std::vector<uint32_t> numbers;
  for (const Mapping& mapping : unused) TRY(AddPages(pagemap.get(), mapping, numbers));
  std::ranges::sort(numbers);
  auto* const discard = reinterpret_cast<volatile uint64_t*>(doorbell_.data() + kDoorbellDiscard);
  for (size_t at = 0; at < numbers.size();) {
    size_t end = at + 1;
    while (end < numbers.size() && end - at < kDoorbellMostPages &&
           numbers[end] == numbers[end - 1] + 1) {
      ++end;
    }
    if (end - at >= kLeastRun) *discard = uint64_t{end - at} << 32 | numbers[at];
    at = end;
  }
  return {};
}

Result<void> SnapshotPoint::DropUnusedMemory() const {
  ::sync();
  TRY(WriteText("/proc/sys/vm/drop_caches", "3"));
  std::vector<Mapping> held;
  while (true) {
    struct sysinfo info{};
    if (::sysinfo(&info) != 0) return FailErrno("sysinfo");
    const uint64_t free = uint64_t{info.freeram} * info.mem_unit;
    const uint64_t keep = std::max(kLeastFree, uint64_t{info.totalram} * info.mem_unit / kFreePart);
    if (free < keep + kPageSize) return Discard(held);
    const uint64_t step = std::min(free - keep, kStep) / kPageSize * kPageSize;
    Mapping mapping = TRY(Mapping::AnonymousHuge(static_cast<size_t>(step)));
    // The kernel makes it zero, and nobody writes to it before it is given back.
    if (::madvise(mapping.data(), mapping.size(), MADV_POPULATE_WRITE) != 0) {
      return FailErrno("take the free memory");
    }
    held.push_back(std::move(mapping));
  }
}

}  // namespace mayfly::init
