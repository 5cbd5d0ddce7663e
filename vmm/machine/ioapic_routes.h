#pragma once

#include <array>
#include <optional>

#include "base/log.h"
#include "base/mutex.h"
#include "devices/legacy/ioapic.h"
#include "vmm/boot/layout.h"
#include "vmm/kvm/vm.h"

namespace mayfly {

// Turns the IOAPIC's redirection entries into KVM's routing table: pin n is GSI n, and a masked pin
// has no route, so that its irqfd goes nowhere. Called from vCPU threads.
class IoapicRoutes final : public IoapicSink {
 public:
  // Both are borrowed.
  IoapicRoutes(const Vm* vm, LogSink* log) : vm_(vm), log_(log) {}

  void RouteChanged(unsigned pin, std::optional<MsiMessage> message) override;

  // KVM waits for readers of the table each time that it is replaced: until Apply() changes are
  // only collected, for an IOAPIC that is restored with all its pins.
  void Hold();
  void Apply();

 private:
  void SetTableLocked() REQUIRES(mutex_);

  const Vm* vm_;
  LogSink* log_;
  Mutex mutex_;
  bool held_ GUARDED_BY(mutex_) = false;
  bool changed_ GUARDED_BY(mutex_) = false;  // While it is held.
  std::array<std::optional<MsiMessage>, layout::kIoapicPins> routes_ GUARDED_BY(mutex_);
};

}  // namespace mayfly
