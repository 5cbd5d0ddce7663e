#pragma once

#include <optional>

#include "guest-init/cgroup.h"
#include "guest-init/platform.h"
#include "guest-init/snapshot_point.h"

namespace mayfly::init {

// The real machine. Owned by main().
class GuestPlatform final : public Platform {
 public:
  static constexpr uint16_t kRuntimeApiPort = 9001;

  Result<Place> Prepare(const Function& function) override;
  void KillHandler() override;
  bool OutOfMemory() override;
  uint64_t PeakMemory() override;
  Result<void> PrepareSnapshot() override;
  Result<Life> PassSnapshotPoint() override;
  Result<void> Resume(const std::vector<NetworkInterface>& network) override;
  void PowerOff() override;

 private:
  std::optional<HandlerCgroup> cgroup_;
  std::optional<SnapshotPoint> snapshot_point_;
};

}  // namespace mayfly::init
