#include "vmm/machine/machine_end.h"

namespace mayfly {

std::string_view NameOf(EndReason reason) {
  switch (reason) {
    case EndReason::kPowerOff:
      return "power-off";
    case EndReason::kReset:
      return "reset";
    case EndReason::kTripleFault:
      return "triple fault";
    case EndReason::kInternalError:
      return "KVM internal error";
    case EndReason::kUnknownExit:
      return "unknown exit";
    case EndReason::kMemoryIntegrity:
      return "memory integrity";
    case EndReason::kHostError:
      return "host error";
    case EndReason::kStopped:
      return "stopped";
  }
  return "";
}

Result<std::unique_ptr<EndLatch>> EndLatch::Create() {
  EventFd event = TRY(EventFd::Create());
  return std::unique_ptr<EndLatch>(new EndLatch(std::move(event)));
}

void EndLatch::Set(MachineEnd end) {
  {
    MutexLock lock(mutex_);
    if (end_) return;
    end_ = std::move(end);
  }
  event_.Signal();
}

std::optional<MachineEnd> EndLatch::Get() const {
  MutexLock lock(mutex_);
  return end_;
}

}  // namespace mayfly
