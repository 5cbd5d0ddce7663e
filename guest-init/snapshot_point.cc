#include "guest-init/snapshot_point.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <vector>

#include "base/file.h"
#include "guest-init/system.h"
#include "guest-init/text_file.h"

namespace mayfly::init {
namespace {

constexpr size_t kPageSize = 4096;
constexpr size_t kDoorbellSize = sizeof(uint32_t);
// How long the kernel's own threads get to send what was written to sockets. Init has a real-time
// priority, so they run when it sleeps.
constexpr timespec kSettle{.tv_sec = 0, .tv_nsec = 2'000'000};

// struct rand_pool_info, whose last member has no size.
struct Entropy {
  int bits;
  int size;
  std::array<uint8_t, sizeof(RestorePage::entropy)> bytes;
};

// What stays free, out of reach of the OOM killer and above the watermarks at which the kernel
// begins to write to memory that it reclaims.
constexpr uint64_t kLeastFree = 8 << 20;
constexpr uint64_t kFreePart = 20;
// Small enough that what others take meanwhile shows in time.
constexpr uint64_t kStep = 32 << 20;

}  // namespace

Result<SnapshotPoint> SnapshotPoint::Create() {
  const UniqueFd memory = TRY(OpenFile("/dev/mem", O_RDONLY));
  Mapping page = TRY(WithContext(
      Mapping::File(memory.get(), kRestorePageAddress, kPageSize, PROT_READ, MAP_SHARED),
      "restore page"));
  RestorePage contents{};
  std::memcpy(&contents, page.data(), sizeof(contents));
  if (contents.magic != RestorePage::kMagic || contents.version != RestorePage::kVersion) {
    return Fail(ErrorCode::kUnsupported, "the VMM has no restore page that this mayfly-init knows");
  }
  if (::ioperm(kDoorbellPort, kDoorbellSize, 1) != 0) return FailErrno("ioperm");
  UniqueFd random = TRY(OpenFile("/dev/urandom", O_RDWR));
  return SnapshotPoint(std::move(page), std::move(random));
}

Result<Platform::Life> SnapshotPoint::Pass() const {
  ::nanosleep(&kSettle, nullptr);
  const auto* const page = reinterpret_cast<const volatile RestorePage*>(page_.data());
  const uint64_t generation = page->generation;
  do {
    ::outl(kDoorbellReady, kDoorbellPort);
  } while (page->generation == generation);
  // The VMM has filled the page while this processor did not run: only the compiler could read
  // something old.
  std::atomic_signal_fence(std::memory_order_acquire);
  RestorePage contents{};
  std::memcpy(&contents, page_.data(), sizeof(contents));
  TRY(Reseed(contents));
  TRY(SetWallClock(contents.wall_clock_ns));
  return Platform::Life{.await_restore = (contents.flags & RestorePage::kAwaitRestoreFrame) != 0};
}

Result<void> SnapshotPoint::Reseed(const RestorePage& page) const {
  const Entropy entropy{
      .bits = 8 * sizeof(page.entropy), .size = sizeof(page.entropy), .bytes = page.entropy};
  if (::ioctl(random_.get(), RNDADDENTROPY, &entropy) != 0) return FailErrno("add entropy");
  if (::ioctl(random_.get(), RNDRESEEDCRNG) != 0) return FailErrno("reseed");
  return {};
}

Result<void> DropUnusedMemory() {
  ::sync();
  TRY(WriteText("/proc/sys/vm/drop_caches", "3"));
  std::vector<Mapping> held;
  while (true) {
    struct sysinfo info{};
    if (::sysinfo(&info) != 0) return FailErrno("sysinfo");
    const uint64_t free = uint64_t{info.freeram} * info.mem_unit;
    const uint64_t keep = std::max(kLeastFree, uint64_t{info.totalram} * info.mem_unit / kFreePart);
    if (free < keep + kPageSize) return {};
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
