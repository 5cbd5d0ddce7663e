#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/mutex.h"
#include "base/result.h"
#include "devices/bus.h"

namespace mayfly {

// A message-signalled interrupt as local APICs take it (Intel SDM volume 3, section 11.11).
struct MsiMessage {
  uint64_t address;
  uint32_t data;
  bool operator==(const MsiMessage&) const = default;
};

// Told of what a pin's interrupt becomes; nothing while the pin is masked. Called with the IOAPIC's
// mutex held, on the vCPU thread that wrote the entry.
class IoapicSink {
 public:
  virtual ~IoapicSink() = default;
  virtual void RouteChanged(unsigned pin, std::optional<MsiMessage> message) = 0;
};

struct IoapicState {
  static constexpr unsigned kPins = 24;
  uint32_t selected = 0;
  uint32_t id = 0;
  std::array<uint64_t, kPins> entries{};

  bool operator==(const IoapicState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("selected", &IoapicState::selected);
    visit("id", &IoapicState::id);
    visit("entries", &IoapicState::entries);
  }
};

// The register file of an 82093AA IOAPIC. It delivers nothing by itself: interrupts go from irqfds
// through KVM's routing table, which the sink keeps equal to the redirection entries. Every device
// here is edge-triggered; an entry that asks for level is delivered as an edge, and its remote-IRR
// stays 0. Accesses are 32 bits wide and aligned; others read 0 and write nothing.
class Ioapic final : public BusDevice {
 public:
  struct Resources {
    IoapicSink* sink;  // Borrowed.
    // That the guest is told of: its kernel touches every one of them some ten times as it starts,
    // and each time is an exit.
    unsigned pins = IoapicState::kPins;
  };

  // All pins masked, or as `state` has them. kCorrupt if a field of `state` has bits that the
  // register does not, or a pin is in use that is not there.
  static Result<std::unique_ptr<Ioapic>> Create(const Resources& resources,
                                                const IoapicState& state = ResetState());
  Ioapic(const Ioapic&) = delete;
  Ioapic& operator=(const Ioapic&) = delete;

  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

  [[nodiscard]] IoapicState Save() const;
  static IoapicState ResetState();

 private:
  Ioapic(const Resources& resources, const IoapicState& state)
      : sink_(resources.sink), pins_(resources.pins), state_(state) {}

  [[nodiscard]] uint32_t ReadRegisterLocked() const REQUIRES(mutex_);
  void WriteRegisterLocked(uint32_t value) REQUIRES(mutex_);
  void AnnounceLocked(unsigned pin) REQUIRES(mutex_);

  // Half an entry.
  struct Selection {
    unsigned pin;
    unsigned shift;
  };
  // Nothing if another register is selected, or a pin that is not there.
  [[nodiscard]] std::optional<Selection> SelectedEntryLocked() const REQUIRES(mutex_);

  IoapicSink* const sink_;
  const unsigned pins_;
  mutable Mutex mutex_;
  IoapicState state_ GUARDED_BY(mutex_);
};

}  // namespace mayfly
