#pragma once

#include "base/event_fd.h"
#include "devices/interrupt_line.h"
#include "vmm/kvm/vm.h"

namespace mayfly {

// An interrupt line that KVM listens to: Raise() signals an eventfd, KVM injects what the routing
// table has for the GSI.
class IrqfdLine final : public InterruptLine {
 public:
  static Result<std::unique_ptr<IrqfdLine>> Create(const Vm& vm, uint32_t gsi) {
    EventFd event = TRY(EventFd::Create());
    TRY(vm.AssignIrqfd(event.fd(), gsi));
    return std::unique_ptr<IrqfdLine>(new IrqfdLine(std::move(event)));
  }

  void Raise() override { event_.Signal(); }

 private:
  explicit IrqfdLine(EventFd event) : event_(std::move(event)) {}
  EventFd event_;
};

}  // namespace mayfly
