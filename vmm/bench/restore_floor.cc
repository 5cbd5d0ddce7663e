#include "vmm/bench/restore_floor.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "base/mapping.h"
#include "base/unique_fd.h"
#include "vmm/boot/layout.h"
#include "vmm/kvm/kvm_abi.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kPage = GuestMemory::kPageSize;
// The bench guest from its first byte to the end of its stack.
constexpr uint64_t kGuestPages = 64;

// What is prepared once, outside of the measurement.
struct Prepared {
  abi::CpuidList cpuid{};
  abi::MsrEntries msrs{};
};

std::unique_ptr<Prepared> Prepare(const VcpuState& vcpu) {
  auto prepared = std::make_unique<Prepared>();
  prepared->cpuid.count = static_cast<uint32_t>(vcpu.cpuid.size());
  std::ranges::copy(vcpu.cpuid, prepared->cpuid.entries);
  prepared->msrs.count = static_cast<uint32_t>(vcpu.msrs.size());
  std::ranges::copy(vcpu.msrs, prepared->msrs.entries);
  return prepared;
}

// The guest's memory as the two ways that fill it have it.
class FloorMemory {
 public:
  static Result<FloorMemory> Create(const RestoreCase& what, uint64_t size, int fd) {
    FloorMemory memory;
    const bool paged = what.way == MemoryWay::kUffd;
    memory.size_ = size;
    memory.mapping_ = TRY(paged ? Mapping::AnonymousHuge(size)
                                : Mapping::PrivateFile(fd, 0, size));
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

template <class T>
Result<void> Call(int fd, unsigned long request, const T& argument, const char* name) {
  if (::ioctl(fd, request, &argument) < 0) return FailErrno(name);
  return {};
}

Result<void> SetState(int vcpu, const VcpuState& state, const Prepared& prepared) {
  TRY(Call(vcpu, abi::kSetCpuid2, prepared.cpuid, "KVM_SET_CPUID2"));
  TRY(Call(vcpu, KVM_SET_MP_STATE, kvm_mp_state{state.mp_state}, "KVM_SET_MP_STATE"));
  TRY(Call(vcpu, KVM_SET_REGS, state.registers, "KVM_SET_REGS"));
  TRY(Call(vcpu, KVM_SET_SREGS, state.system, "KVM_SET_SREGS"));
  if (state.xcrs.nr_xcrs > 0) TRY(Call(vcpu, KVM_SET_XCRS, state.xcrs, "KVM_SET_XCRS"));
  TRY(Call(vcpu, abi::kSetXsave, state.xsave, "KVM_SET_XSAVE"));
  TRY(Call(vcpu, KVM_SET_DEBUGREGS, state.debug, "KVM_SET_DEBUGREGS"));
  TRY(Call(vcpu, KVM_SET_LAPIC, state.lapic, "KVM_SET_LAPIC"));
  TRY(Call(vcpu, abi::kSetMsrs, prepared.msrs, "KVM_SET_MSRS"));
  return Call(vcpu, KVM_SET_VCPU_EVENTS, state.events, "KVM_SET_VCPU_EVENTS");
}

// Until the guest writes `value` to its doorbell.
Result<void> RunTo(int vcpu, kvm_run* run, uint32_t value) {
  while (true) {
    if (::ioctl(vcpu, KVM_RUN, 0) != 0) {
      if (errno == EINTR || errno == EAGAIN) continue;
      return FailErrno("KVM_RUN");
    }
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != kDoorbellPort) {
      return Fail(ErrorCode::kGuest, "floor: the guest does not ring its doorbell");
    }
    const auto* data = reinterpret_cast<const uint8_t*>(run) + run->io.data_offset;
    if (LoadLe<uint32_t>({data, sizeof(uint32_t)}) == value) return {};
  }
}

}  // namespace

Result<FloorTimes> MeasureFloor(const RestoreCase& what, const MachineState& state, int memory_fd,
                                const WorkingSet* working_set) {
  const VcpuState& saved = state.vcpus.front();
  const auto prepared = Prepare(saved);
  const uint64_t size = state.memory_bytes;

  const auto start = Clock::now();
  const UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) return FailErrno("open /dev/kvm");
  const int run_size = ::ioctl(kvm.get(), KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_size < 0) return FailErrno("KVM_GET_VCPU_MMAP_SIZE");
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
  const UniqueFd vm(::ioctl(kvm.get(), KVM_CREATE_VM, 0));
  if (!vm.valid()) return FailErrno("KVM_CREATE_VM");
  const uint64_t low = std::min(size, GuestMemory::kHoleStart);
  const auto host = reinterpret_cast<uint64_t>(memory.data());
  TRY(Call(vm.get(), KVM_SET_USER_MEMORY_REGION,
           kvm_userspace_memory_region{0, 0, 0, low, host}, "KVM_SET_USER_MEMORY_REGION"));
  if (size > low) {
    TRY(Call(vm.get(), KVM_SET_USER_MEMORY_REGION,
             kvm_userspace_memory_region{1, 0, GuestMemory::kHoleEnd, size - low, host + low},
             "KVM_SET_USER_MEMORY_REGION"));
  }
  kvm_enable_cap split{};
  split.cap = KVM_CAP_SPLIT_IRQCHIP;
  split.args[0] = layout::kIoapicPins;
  TRY(Call(vm.get(), KVM_ENABLE_CAP, split, "KVM_CAP_SPLIT_IRQCHIP"));
  const UniqueFd vcpu(::ioctl(vm.get(), KVM_CREATE_VCPU, 0));
  if (!vcpu.valid()) return FailErrno("KVM_CREATE_VCPU");
  const Mapping run_page = TRY(Mapping::File(vcpu.get(), 0, static_cast<size_t>(run_size),
                                             PROT_READ | PROT_WRITE, MAP_SHARED));
  TRY(SetState(vcpu.get(), saved, *prepared));
  // A new generation, which is all that the guest waits for.
  reinterpret_cast<RestorePage*>(memory.data() + layout::kRestorePage.value)->generation = 1;
  auto* const run = reinterpret_cast<kvm_run*>(run_page.data());
  TRY(RunTo(vcpu.get(), run, kDoorbellBegun));
  FloorTimes times{Clock::now() - start, {}};
  if (working_set != nullptr) {
    TRY(RunTo(vcpu.get(), run, kDoorbellDone));
    times.working_set = Clock::now() - start;
  }
  return times;
}

}  // namespace mayfly
