#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "base/event_loop.h"
#include "base/thread.h"
#include "vmm/machine/machine_end.h"
#include "vmm/machine/vcpu_thread.h"

namespace mayfly {

// The threads of a machine: one for I/O, one for each vCPU, which start paused. Owned by the
// machine, or by the shell that it is made of; what the threads use outlives this.
class MachineThreads {
 public:
  // `loop` and `end` are borrowed, and so is what is in `resources`. `on_io_start` is called first
  // in the thread for I/O; it may be empty.
  MachineThreads(EventLoop* loop, EndLatch* end, std::vector<Vcpu> vcpus,
                 const VcpuThread::Resources& resources, std::function<void()> on_io_start = {});
  MachineThreads(const MachineThreads&) = delete;
  MachineThreads& operator=(const MachineThreads&) = delete;
  // Stops what still runs.
  ~MachineThreads();

  // Each idempotent, in this order.
  void StopVcpus();
  void StopIo();

  [[nodiscard]] const std::vector<std::unique_ptr<VcpuThread>>& vcpus() const { return vcpus_; }

 private:
  EventLoop* const loop_;
  Thread io_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;
};

}  // namespace mayfly
