#pragma once

#include <optional>

#include "guest-init/cgroup.h"
#include "guest-init/platform.h"

namespace mayfly::init {

// The real machine. Owned by main().
class GuestPlatform final : public Platform {
 public:
  static constexpr uint16_t kRuntimeApiPort = 9001;

  Result<Place> Prepare(const Function& function) override;
  void KillHandler() override;
  bool OutOfMemory() override;
  uint64_t PeakMemory() override;
  void PowerOff() override;

 private:
  std::optional<HandlerCgroup> cgroup_;
};

}  // namespace mayfly::init
