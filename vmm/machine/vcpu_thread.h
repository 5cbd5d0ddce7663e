#pragma once

#include <unistd.h>

#include <atomic>
#include <functional>
#include <memory>

#include "base/mutex.h"
#include "base/thread.h"
#include "devices/bus.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/machine/machine_end.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// A vCPU and the thread that runs it. The thread owns the vCPU's state while it runs; everybody
// else goes through commands, from any thread, one caller at a time.
//
//            Resume()                    the guest ends
//   paused ------------> running --------------------------> ended
//      ^ <-------------     |                                  ^
//      |     Pause()        |             Stop()               |
//      +--------------------+----------------------------------+
class VcpuThread {
 public:
  struct Resources {
    const Bus* pio;
    const Bus* mmio;
    const GuestMemory* memory;
    EndLatch* end;
    std::function<void()> on_start{};  // Called first in the thread; may be empty.
  };

  // The thread starts paused.
  static std::unique_ptr<VcpuThread> Create(Vcpu vcpu, const Resources& resources);
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;
  ~VcpuThread() { Stop(); }

  void Resume();
  // Returns when the vCPU has left the guest, and finished the access that it left it for.
  void Pause();
  enum class Kick { kNo, kYes };
  // Asks for Pause() and does not wait; also from inside a bus access of this vCPU's, after which
  // it then executes no instruction more. Without a kick, which takes a system call, another vCPU's
  // thread may stay in the guest until somebody calls Pause().
  void RequestPause(Kick kick) { Give(Command::kPause, kick); }
  // Ends the thread. Idempotent.
  void Stop();

  // The steps of RestoreVcpu() after the first; while it is paused.
  Result<void> SetRegisters(const VcpuState& state) const { return RestoreRegisters(vcpu_, state); }
  Result<void> SetEvents(const VcpuState& state) const { return RestoreEvents(vcpu_, state); }

  // The guest's time stamp counter, while the vCPU is paused.
  [[nodiscard]] Result<uint64_t> GetTsc() const { return vcpu_.GetTsc(); }
  // Its rate.
  [[nodiscard]] uint32_t tsc_khz() const { return vcpu_.tsc_khz(); }

  // The vCPU's state, while it is paused.
  Result<VcpuState> Save(std::span<const uint32_t> msr_indices) const {
    return SaveVcpu(vcpu_, msr_indices);
  }

 private:
  enum class Command { kPause, kRun, kStop };

  VcpuThread(Vcpu vcpu, const Resources& resources)
      : vcpu_(std::move(vcpu)), resources_(resources) {}

  void Give(Command command, Kick kick = Kick::kYes);
  void Loop();
  // Blocks while the command is kPause; false for kStop.
  bool WaitToRun();
  // The reason to end, if the exit is one.
  std::optional<MachineEnd> HandleExit();
  void HandlePortIo(const kvm_run& run);
  std::optional<MachineEnd> HandleMmio(kvm_run& run) const;

  Vcpu vcpu_;
  const Resources resources_;
  const pid_t process_id_ = ::getpid();

  std::atomic<Command> command_{Command::kPause};
  Mutex mutex_;
  ConditionVariable changed_;
  bool in_guest_ GUARDED_BY(mutex_) = false;
  pid_t thread_id_ GUARDED_BY(mutex_) = 0;
  bool ended_ GUARDED_BY(mutex_) = false;

  Thread thread_;  // Last: joined before the rest goes.
};

}  // namespace mayfly
