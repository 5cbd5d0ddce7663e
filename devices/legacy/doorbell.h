#pragma once

#include <functional>

#include "devices/bus.h"

namespace mayfly {

// By which a guest says that it stands where it wants to be snapshotted, and what memory it does
// not need in the snapshot: see base/restore_page.h. Any vCPU thread.
class Doorbell final : public BusDevice {
 public:
  static constexpr uint64_t kPortSize = 4;
  static constexpr uint64_t kSize = 16;

  // Called on the vCPU's thread, before its write returns: `rung` for kDoorbellReady and `marked`
  // for any other value, `discarded` with a page and kDoorbellMostPages at most. Before the vCPUs
  // run.
  void OnRung(std::function<void()> rung) { rung_ = std::move(rung); }
  void OnMark(std::function<void(uint32_t)> marked) { marked_ = std::move(marked); }

  void OnDiscard(std::function<void(uint32_t page, uint32_t count)> discarded) {
    discarded_ = std::move(discarded);
  }

  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

 private:
  std::function<void()> rung_;
  std::function<void(uint32_t)> marked_;
  std::function<void(uint32_t, uint32_t)> discarded_;
};

}  // namespace mayfly
