#include "vmm/machine/vcpu_thread.h"

#include <fmt/format.h>

#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

#include "vmm/machine/vcpu_exit.h"

namespace mayfly {
namespace {

// Interrupts KVM_RUN. Its handler does nothing: that the system call returns is all it is for.
int KickSignal() { return SIGRTMIN; }

// Signal dispositions belong to the process. Setting the same one again is harmless, so every
// machine does it, and nobody keeps count.
void InstallKickHandler() {
  struct sigaction action{};
  action.sa_handler = [](int) {};
  ::sigaction(KickSignal(), &action, nullptr);
}

void UnblockKickSignal() {
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, KickSignal());
  ::pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
}

}  // namespace

std::unique_ptr<VcpuThread> VcpuThread::Create(Vcpu vcpu, const Resources& resources) {
  InstallKickHandler();
  std::unique_ptr<VcpuThread> self(new VcpuThread(std::move(vcpu), resources));
  VcpuThread* thread = self.get();
  self->thread_ = Thread(fmt::format("vcpu-{}", self->vcpu_.id()), [thread] { thread->Loop(); });
  return self;
}

void VcpuThread::Resume() { Give(Command::kRun); }

void VcpuThread::Pause() {
  Give(Command::kPause);
  MutexLock lock(mutex_);
  while (in_guest_ && !ended_) changed_.wait(mutex_);
}

void VcpuThread::Stop() {
  Give(Command::kStop);
  thread_.Join();
}

void VcpuThread::Give(Command command, Kick kick) {
  MutexLock lock(mutex_);
  // A pause that the guest asks for while somebody stops it does not keep it.
  if (ended_ || command_.load(std::memory_order_relaxed) == Command::kStop) return;
  command_.store(command, std::memory_order_relaxed);
  // The order matters: whoever sees the exit request must see the command.
  if (command == Command::kRun) {
    vcpu_.ClearExitRequest();
  } else {
    vcpu_.RequestExit();
    // The C library's function would block signals around it, which is two system calls more for a
    // filter to allow. The thread itself is not in KVM_RUN.
    if (in_guest_ && kick == Kick::kYes && thread_.native_handle() != ::pthread_self()) {
      ::syscall(SYS_tgkill, process_id_, thread_id_, KickSignal());
    }
  }
  changed_.notify_all();
}

bool VcpuThread::WaitToRun() {
  MutexLock lock(mutex_);
  in_guest_ = false;
  changed_.notify_all();
  while (command_ == Command::kPause) changed_.wait(mutex_);
  in_guest_ = command_ == Command::kRun;
  return in_guest_;
}

void VcpuThread::Loop() {
  UnblockKickSignal();
  {
    MutexLock lock(mutex_);
    thread_id_ = ::gettid();
  }
  if (resources_.on_start) resources_.on_start();
  std::optional<MachineEnd> end;
  while (!end && WaitToRun()) {
    // After an exit request KVM_RUN still finishes the access that the last exit was for, and then
    // returns at once: the state is complete when the thread pauses.
    while (!end) {
      const Result<bool> exited = vcpu_.Run();
      if (!exited) {
        end = EndOf(exited.error());
      } else if (*exited) {
        end = HandleExit();
      } else if (command_.load(std::memory_order_relaxed) != Command::kRun) {
        break;
      }
    }
  }
  if (end) resources_.end->Set(std::move(*end));
  MutexLock lock(mutex_);
  ended_ = true;
  changed_.notify_all();
}

std::optional<MachineEnd> VcpuThread::HandleExit() {
  kvm_run& run = vcpu_.run();
  switch (run.exit_reason) {
    case KVM_EXIT_IO:
      HandlePortIo(run);
      return std::nullopt;
    case KVM_EXIT_MMIO:
      return HandleMmio(run);
    default:
      return EndOf(run, vcpu_.id());
  }
}

void VcpuThread::HandlePortIo(const kvm_run& run) {
  auto* data = reinterpret_cast<uint8_t*>(&vcpu_.run()) + run.io.data_offset;
  // String instructions: `count` accesses of `size` bytes each, all to the same port.
  for (uint32_t i = 0; i < run.io.count; ++i, data += run.io.size) {
    if (run.io.direction == KVM_EXIT_IO_IN) {
      resources_.pio->Read(run.io.port, {data, run.io.size});
    } else {
      resources_.pio->Write(run.io.port, {data, run.io.size});
    }
  }
}

std::optional<MachineEnd> VcpuThread::HandleMmio(kvm_run& run) const {
  // RAM never comes here unless the page behind it cannot be had: poisoned, or past the end of its
  // file. To answer would be to corrupt the guest without a word.
  if (resources_.memory->Contains(GuestAddress{run.mmio.phys_addr}, 1)) {
    return MachineEnd{
        EndReason::kMemoryIntegrity,
        fmt::format("the page at {:#x} cannot be read or written", run.mmio.phys_addr)};
  }
  const std::span<uint8_t> bytes(run.mmio.data, run.mmio.len);
  if (run.mmio.is_write != 0) {
    resources_.mmio->Write(run.mmio.phys_addr, bytes);
  } else {
    resources_.mmio->Read(run.mmio.phys_addr, bytes);
  }
  return std::nullopt;
}

}  // namespace mayfly
