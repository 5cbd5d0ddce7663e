#include "vmm/machine/machine.h"

#include <poll.h>
#include <sys/epoll.h>

#include <array>

#include "base/check.h"
#include "vmm/boot/layout.h"
#include "vmm/machine/new_life.h"

namespace mayfly {
namespace {

// Puts in what time it is by the host's clock and by the guest's counter. Whatever passes between
// the two readings the guest's clock will be wrong by, so they are taken again if this thread has
// not had its processor meanwhile.
Result<void> ReadTime(const VcpuThread& vcpu, RestorePage* page) {
  constexpr uint64_t kLongNs = 50'000;
  constexpr int kMostReadings = 8;
  page->tsc_khz = vcpu.tsc_khz();
  uint64_t least = UINT64_MAX;
  for (int i = 0; i < kMostReadings && least > kLongNs; ++i) {
    const uint64_t before = WallClockNs();
    const uint64_t tsc = TRY(vcpu.GetTsc());
    const uint64_t took = WallClockNs() - before;
    if (took >= least) continue;
    least = took;
    page->tsc = tsc;
    page->wall_clock_ns = before + took / 2;
  }
  return {};
}

}  // namespace

Machine::Machine(Parts parts) : parts_(std::move(parts)) {
  if (parts_.threads) return;
  parts_.threads = std::make_unique<MachineThreads>(
      parts_.loop.get(), parts_.end.get(), std::move(parts_.vcpus),
      VcpuThread::Resources{parts_.pio.get(), parts_.mmio.get(), parts_.memory.get(),
                            parts_.end.get(), parts_.hooks.vcpu},
      parts_.hooks.io);
}

Machine::~Machine() { Stop(); }

void Machine::OnEnd(std::function<void(const MachineEnd&)> callback) {
  on_end_ = std::move(callback);
  // The latch stays readable, so an edge is what is waited for.
  const auto watch =
      parts_.loop->Watch(end_fd(), EPOLLIN | EPOLLET, [this](uint32_t) { AnnounceEnd(); });
  CHECK(watch.has_value());
}

void Machine::AnnounceEnd() {
  if (on_end_ && !end_announced_.exchange(true)) on_end_(*end());
}

void Machine::Resume() {
  for (const auto& transport : parts_.transports) transport->Resume();
  for (const auto& vcpu : parts_.threads->vcpus()) vcpu->Resume();
}

void Machine::Pause() {
  for (const auto& vcpu : parts_.threads->vcpus()) vcpu->Pause();
  for (const auto& transport : parts_.transports) transport->Pause();
}

void Machine::RequestPause() const {
  const auto kick = parts_.hooks.filtered() ? VcpuThread::Kick::kNo : VcpuThread::Kick::kYes;
  for (const auto& vcpu : parts_.threads->vcpus()) vcpu->RequestPause(kick);
}

Result<MachineState> Machine::Save() const {
  MachineState state;
  state.memory_bytes = parts_.memory->size();
  state.clock_ns = TRY(parts_.vm->GetClock());
  // Before the local APICs: input that arrives in between is an interrupt too many in the state,
  // not one too few.
  state.serial = parts_.serial->Save();
  for (const auto& vcpu : parts_.threads->vcpus()) {
    state.vcpus.push_back(TRY(vcpu->Save(parts_.msr_indices)));
  }
  state.ioapic = parts_.ioapic->Save();
  state.generation = parts_.generation->Save();
  for (const auto& transport : parts_.transports) {
    state.virtio.push_back({transport->name(), transport->Save()});
  }
  for (const BlkDevice* disk : parts_.disks) state.disks.push_back(disk->Save());
  for (const NetDevice* net : parts_.nets) state.nets.push_back(net->Save());
  if (parts_.vsock != nullptr) state.vsocks.push_back(parts_.vsock->Save());
  if (parts_.balloon != nullptr) state.balloons.push_back(parts_.balloon->Save());
  return state;
}

void Machine::OnDoorbell(std::function<void()> rung) {
  parts_.doorbell->OnRung([this, rung = std::move(rung)] {
    RequestPause();
    rung();
  });
  parts_.doorbell->OnDiscard([this](uint32_t page, uint32_t count) {
    constexpr uint64_t kPage = GuestMemory::kPageSize;
    // What is no RAM, or cannot be given back, only takes its place in the snapshot.
    IgnoreFailure(parts_.memory->Discard(GuestAddress{page * kPage}, count * kPage));
  });
}

Result<void> Machine::SetRestorePage(RestorePage page) const {
  TRY(ReadTime(*parts_.threads->vcpus().front(), &page));
  if (parts_.memory->WriteValue(layout::kRestorePage, page)) return {};
  // The page may have become one that cannot be had.
  if (const auto end = parts_.end->Get()) return Fail(ErrorCode::kHost, end->detail);
  return Fail(ErrorCode::kInvalidArgument, "guest memory has no restore page");
}

void Machine::Stop() {
  parts_.end->Set({EndReason::kStopped, ""});
  if (parts_.pager) parts_.pager->Abandon();
  parts_.threads->StopVcpus();
  parts_.threads->StopIo();
  parts_.serial_output->Drain();
  // The loop may have been stopped before it got to the announcement.
  AnnounceEnd();
}

bool Machine::SetLink(size_t index, bool up) {
  if (index >= parts_.nets.size()) return false;
  parts_.nets[index]->SetLink(up);
  return true;
}

MachineEnd Machine::Wait() const { return WaitOr(*parts_.end); }

MachineEnd Machine::WaitOr(const EndLatch& other) const {
  std::array<pollfd, 2> events{{{end_fd(), POLLIN, 0}, {other.fd(), POLLIN, 0}}};
  while (::poll(events.data(), events.size(), -1) < 0) CHECK(errno == EINTR);
  return events[0].revents != 0 ? *end() : *other.Get();
}

}  // namespace mayfly
