#include "vmm/machine/ioapic_routes.h"

#include <utility>
#include <vector>

#include "base/check.h"

namespace mayfly {

void IoapicRoutes::RouteChanged(unsigned pin, std::optional<MsiMessage> message) {
  CHECK(pin < layout::kIoapicPins);
  MutexLock lock(mutex_);
  if (!message && !routes_[pin]) return;
  routes_[pin] = message;
  if (held_) {
    changed_ = true;
  } else {
    SetTableLocked();
  }
}

void IoapicRoutes::Hold() {
  MutexLock lock(mutex_);
  held_ = true;
}

void IoapicRoutes::Apply() {
  MutexLock lock(mutex_);
  held_ = false;
  if (std::exchange(changed_, false)) SetTableLocked();
}

void IoapicRoutes::SetTableLocked() {
  std::vector<MsiRoute> table;
  for (uint32_t gsi = 0; gsi < routes_.size(); ++gsi) {
    if (routes_[gsi]) table.push_back({gsi, routes_[gsi]->address, routes_[gsi]->data});
  }
  const Result<void> set = vm_->SetGsiRouting(table);
  // A message that KVM refuses costs the guest its interrupt, and nobody else anything.
  if (!set && log_ != nullptr) log_->Write(LogLevel::kWarning, "ioapic: " + set.error().message());
}

}  // namespace mayfly
