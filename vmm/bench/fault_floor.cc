#include "vmm/bench/fault_floor.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>

#include "base/event_fd.h"
#include "base/mapping.h"
#include "base/restore_page.h"
#include "base/thread.h"
#include "base/unique_fd.h"
#include "vmm/bench/bare_machine.h"
#include "vmm/boot/layout.h"

namespace mayfly {
namespace {

using Clock = std::chrono::steady_clock;

// Memory whose pages come from a file by page faults.
class FaultedMemory {
 public:
  static Result<std::unique_ptr<FaultedMemory>> Create(uint64_t size, int fd, uint64_t run_bytes) {
    EventFd end = TRY(EventFd::Create());
    std::unique_ptr<FaultedMemory> memory(new FaultedMemory(run_bytes, std::move(end)));
    memory->mapping_ = TRY(Mapping::AnonymousHuge(size));
    memory->source_ = TRY(Mapping::File(fd, 0, size, PROT_READ, MAP_SHARED | MAP_NORESERVE));
    memory->uffd_.Reset(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)));
    if (!memory->uffd_.valid()) return FailErrno("userfaultfd");
    uffdio_api api{UFFD_API, 0, 0};
    if (::ioctl(memory->uffd_.get(), UFFDIO_API, &api) != 0) return FailErrno("UFFDIO_API");
    uffdio_register request{};
    request.range = {reinterpret_cast<uint64_t>(memory->mapping_.data()), size};
    request.mode = UFFDIO_REGISTER_MODE_MISSING;
    if (::ioctl(memory->uffd_.get(), UFFDIO_REGISTER, &request) != 0) {
      return FailErrno("UFFDIO_REGISTER");
    }
    FaultedMemory* const self = memory.get();
    memory->thread_ = Thread("bare-pager", [self] { self->Loop(); });
    return memory;
  }
  ~FaultedMemory() {
    end_.Signal();
    thread_.Join();
  }

  [[nodiscard]] std::span<uint8_t> bytes() const { return {mapping_.data(), mapping_.size()}; }

 private:
  FaultedMemory(uint64_t run_bytes, EventFd end) : run_bytes_(run_bytes), end_(std::move(end)) {}

  void Loop() {
    const auto base = reinterpret_cast<uint64_t>(mapping_.data());
    std::array<pollfd, 2> events{{{uffd_.get(), POLLIN, 0}, {end_.fd(), POLLIN, 0}}};
    while (::poll(events.data(), events.size(), -1) > 0 && events[1].revents == 0) {
      uffd_msg message{};
      if (::read(uffd_.get(), &message, sizeof(message)) != sizeof(message)) continue;
      const uint64_t offset = (message.arg.pagefault.address - base) & ~(run_bytes_ - 1);
      uffdio_copy copy{};
      copy.dst = base + offset;
      copy.src = reinterpret_cast<uint64_t>(source_.data()) + offset;
      copy.len = run_bytes_;
      ::ioctl(uffd_.get(), UFFDIO_COPY, &copy);
    }
  }

  const uint64_t run_bytes_;
  const EventFd end_;
  Mapping mapping_;
  Mapping source_;
  UniqueFd uffd_;
  Thread thread_;
};

}  // namespace

Result<Clock::duration> MeasureFaultFloor(const FaultCase& what, const MachineState& state,
                                          int memory_fd) {
  const auto prepared = PreparedVcpu::Of(state.vcpus.front());
  const UniqueFd kvm(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
  if (!kvm.valid()) return FailErrno("open /dev/kvm");
  const auto memory = TRY(FaultedMemory::Create(state.memory_bytes, memory_fd, what.run_bytes));
  BareMachine machine = TRY(BareMachine::Create(kvm.get(), *prepared, memory->bytes()));
  reinterpret_cast<RestorePage*>(memory->bytes().data() + layout::kRestorePage.value)->generation =
      1;
  TRY(machine.RunTo(kDoorbellBegun));
  const auto start = Clock::now();
  TRY(machine.RunTo(kDoorbellDone));
  return Clock::now() - start;
}

}  // namespace mayfly
