#pragma once

#include <functional>

#include "devices/bus.h"

namespace mayfly {

// The port by which a guest says that it stands where it wants to be snapshotted: see
// base/restore_page.h. Any vCPU thread.
class Doorbell final : public BusDevice {
 public:
  static constexpr uint64_t kSize = 4;

  // `rung` is called for kDoorbellReady and `marked` for any other value, on the vCPU's thread,
  // before its write returns. Before the vCPUs run.
  void OnRung(std::function<void()> rung) { rung_ = std::move(rung); }
  void OnMark(std::function<void(uint32_t)> marked) { marked_ = std::move(marked); }

  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

 private:
  std::function<void()> rung_;
  std::function<void(uint32_t)> marked_;
};

}  // namespace mayfly
