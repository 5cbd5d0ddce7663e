#include "vmm/machine/machine_threads.h"

namespace mayfly {

MachineThreads::MachineThreads(EventLoop* loop, EndLatch* end, std::vector<Vcpu> vcpus,
                               const VcpuThread::Resources& resources,
                               std::function<void()> on_io_start)
    : loop_(loop) {
  io_ = Thread("io", [loop, end, on_start = std::move(on_io_start)] {
    if (on_start) on_start();
    const Result<void> ran = loop->Run();
    if (!ran) end->Set({EndReason::kHostError, ran.error().message()});
  });
  for (Vcpu& vcpu : vcpus) vcpus_.push_back(VcpuThread::Create(std::move(vcpu), resources));
}

MachineThreads::~MachineThreads() {
  StopVcpus();
  StopIo();
}

void MachineThreads::StopVcpus() {
  for (const auto& vcpu : vcpus_) vcpu->Stop();
}

void MachineThreads::StopIo() {
  loop_->Stop();
  io_.Join();
}

}  // namespace mayfly
