#include "vmm/bench/restore_floor.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mapping.h"
#include "base/unique_fd.h"
#include "vmm/bench/bare_machine.h"
#include "vmm/boot/layout.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kPage = GuestMemory::kPageSize;
// The bench guest from its first byte to the end of its stack.
constexpr uint64_t kGuestPages = 64;

// The guest's memory as the two ways that fill it have it.
class FloorMemory {
 public:
  static Result<FloorMemory> Create(const RestoreCase& what, uint64_t size, int fd) {
    FloorMemory memory;
    const bool paged = what.way == MemoryWay::kUffd;
    memory.size_ = size;
    memory.mapping_ = TRY(paged ? Mapping::AnonymousHuge(size) : Mapping::PrivateFile(fd, 0, size));
    if (!paged) return memory;
    memory.uffd_.Reset(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    if (!memory.uffd_.valid()) return FailErrno("userfaultfd");
    uffdio_api api{UFFD_API, 0, 0};
    if (::ioctl(memory.uffd_.get(), UFFDIO_API, &api) != 0) return FailErrno("UFFDIO_API");
    uffdio_register request{};
    request.range = {reinterpret_cast<uint64_t>(memory.mapping_.data()), size};
    request.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (::ioctl(memory.uffd_.get(), UFFDIO_REGISTER, &request) != 0) {
      return FailErrno("UFFDIO_REGISTER");
    }
    memory.source_ = TRY(Mapping::File(fd, 0, size, PROT_READ, MAP_SHARED | MAP_NORESERVE));
    return memory;
  }

  [[nodiscard]] uint8_t* data() const { return mapping_.data(); }

  Result<void> Fill(uint64_t offset, uint64_t length, bool written) const {
    if (uffd_.valid()) {
      uffdio_copy copy{};
      copy.dst = reinterpret_cast<uint64_t>(mapping_.data()) + offset;
      copy.src = reinterpret_cast<uint64_t>(source_.data()) + offset;
      copy.len = length;
      if (::ioctl(uffd_.get(), UFFDIO_COPY, &copy) != 0) return FailErrno("UFFDIO_COPY");
      return {};
    }
    if (::madvise(mapping_.data() + offset, length,
                  written ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) != 0) {
      return FailErrno("madvise(MADV_POPULATE)");
    }
    return {};
  }

 private:
  uint64_t size_ = 0;
  Mapping mapping_;
  UniqueFd uffd_;
  Mapping source_;
};

}  // namespace

Result<GuestTimes> MeasureFloor(const RestoreCase& what, const MachineState& state, int memory_fd,
                                const WorkingSet* working_set) {
  const auto prepared = PreparedVcpu::Of(state.vcpus.front());
  const uint64_t size = state.memory_bytes;

  const auto start = Clock::now();
  const UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) return FailErrno("open /dev/kvm");
  const FloorMemory memory = TRY(FloorMemory::Create(what, size, memory_fd));
  if (working_set != nullptr) {
    for (const WorkingSetRun& run : working_set->runs) {
      TRY(memory.Fill(run.page * kPage, run.count * kPage, run.written));
    }
  }
  if (what.way == MemoryWay::kUffd) {
    // The few pages that the guest needs to get to its doorbell: its code, stack and tables.
    TRY(memory.Fill(layout::kHighRam.value, kGuestPages * kPage, false));
    TRY(memory.Fill(layout::kRestorePage.value, kPage, true));
  }
  BareMachine machine = TRY(BareMachine::Create(kvm.get(), *prepared, {memory.data(), size}));
  // A new generation, which is all that the guest waits for.
  reinterpret_cast<RestorePage*>(memory.data() + layout::kRestorePage.value)->generation = 1;
  TRY(machine.RunTo(kDoorbellBegun));
  GuestTimes times{Clock::now() - start, {}};
  if (working_set != nullptr) {
    TRY(machine.RunTo(kDoorbellDone));
    times.working_set = Clock::now() - start;
  }
  return times;
}

}  // namespace mayfly
