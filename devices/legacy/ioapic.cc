#include "devices/legacy/ioapic.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/bytes.h"

namespace mayfly {
namespace {

// Memory-mapped registers (82093AA data sheet, section 3.1).
constexpr uint64_t kRegisterSelect = 0x00;
constexpr uint64_t kWindow = 0x10;
// Indirect registers (section 3.2).
constexpr uint32_t kId = 0x00;
constexpr uint32_t kVersion = 0x01;
constexpr uint32_t kArbitration = 0x02;
constexpr uint32_t kRedirectionTable = 0x10;

// Version 0x11 has no EOI register: an edge needs none.
constexpr uint32_t kVersionValue = 0x11;
constexpr unsigned kLastEntryShift = 16;
constexpr uint32_t kIdMask = 0x0f000000;

// Redirection entry bits.
constexpr uint64_t kVectorMask = 0xff;
constexpr uint64_t kDeliveryModeMask = 0x7 << 8;
constexpr uint64_t kLogicalDestination = 1 << 11;
constexpr uint64_t kMasked = 1 << 16;
constexpr unsigned kDestinationShift = 56;
// Delivery status (12) and remote IRR (14) are read-only, and bits 17 to 55 do not exist.
constexpr uint64_t kWritable = 0xff0000000001afff;

// Message address and data (Intel SDM volume 3, figures 11-14 and 11-15).
constexpr uint64_t kMessageBase = 0xfee00000;
constexpr unsigned kMessageDestinationShift = 12;
constexpr uint64_t kMessageLogical = 1 << 2;

MsiMessage MessageOf(uint64_t entry) {
  MsiMessage message{};
  message.address = kMessageBase | entry >> kDestinationShift << kMessageDestinationShift;
  if ((entry & kLogicalDestination) != 0) message.address |= kMessageLogical;
  message.data = static_cast<uint32_t>(entry & (kVectorMask | kDeliveryModeMask));
  return message;
}

}  // namespace

IoapicState Ioapic::ResetState() {
  IoapicState state;
  state.entries.fill(kMasked);
  return state;
}

Result<std::unique_ptr<Ioapic>> Ioapic::Create(const Resources& resources,
                                               const IoapicState& state) {
  if (state.selected > 0xff) {
    return Fail(ErrorCode::kCorrupt, fmt::format("ioapic: selected: {:#x}", state.selected));
  }
  if ((state.id & ~kIdMask) != 0) {
    return Fail(ErrorCode::kCorrupt, fmt::format("ioapic: id: {:#x}", state.id));
  }
  for (unsigned pin = 0; pin < IoapicState::kPins; ++pin) {
    if ((state.entries[pin] & ~kWritable) != 0) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("ioapic: entries[{}]: {:#x}", pin, state.entries[pin]));
    }
    if (pin >= resources.pins && (state.entries[pin] & kMasked) == 0) {
      return Fail(ErrorCode::kCorrupt,
                  fmt::format("ioapic: entries[{}]: in use, of {}", pin, resources.pins));
    }
  }
  std::unique_ptr<Ioapic> ioapic(new Ioapic(resources, state));
  MutexLock lock(ioapic->mutex_);
  for (unsigned pin = 0; pin < IoapicState::kPins; ++pin) ioapic->AnnounceLocked(pin);
  return ioapic;
}

void Ioapic::Read(uint64_t offset, std::span<uint8_t> bytes) {
  std::ranges::fill(bytes, 0);
  if (bytes.size() != sizeof(uint32_t)) return;
  MutexLock lock(mutex_);
  if (offset == kRegisterSelect) StoreLe(bytes, state_.selected);
  if (offset == kWindow) StoreLe(bytes, ReadRegisterLocked());
}

void Ioapic::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (bytes.size() != sizeof(uint32_t)) return;
  const auto value = LoadLe<uint32_t>(bytes);
  MutexLock lock(mutex_);
  if (offset == kRegisterSelect) state_.selected = value & 0xff;
  if (offset == kWindow) WriteRegisterLocked(value);
}

uint32_t Ioapic::ReadRegisterLocked() const {
  switch (state_.selected) {
    case kId:
    case kArbitration:
      return state_.id;
    case kVersion:
      return kVersionValue | (pins_ - 1) << kLastEntryShift;
    default: {
      const std::optional<Selection> selection = SelectedEntryLocked();
      if (!selection) return 0;
      return static_cast<uint32_t>(state_.entries[selection->pin] >> selection->shift);
    }
  }
}

void Ioapic::WriteRegisterLocked(uint32_t value) {
  if (state_.selected == kId) {
    state_.id = value & kIdMask;
    return;
  }
  const std::optional<Selection> selection = SelectedEntryLocked();
  if (!selection) return;
  uint64_t& entry = state_.entries[selection->pin];
  const uint64_t half = 0xffffffffULL << selection->shift;
  const uint64_t changed = ((entry & ~half) | uint64_t{value} << selection->shift) & kWritable;
  if (changed == entry) return;
  entry = changed;
  AnnounceLocked(selection->pin);
}

std::optional<Ioapic::Selection> Ioapic::SelectedEntryLocked() const {
  const uint32_t index = state_.selected - kRedirectionTable;
  if (state_.selected < kRedirectionTable || index >= 2 * pins_) return std::nullopt;
  return Selection{index / 2, index % 2 * 32};
}

void Ioapic::AnnounceLocked(unsigned pin) {
  const uint64_t entry = state_.entries[pin];
  if ((entry & kMasked) != 0) {
    sink_->RouteChanged(pin, std::nullopt);
  } else {
    sink_->RouteChanged(pin, MessageOf(entry));
  }
}

IoapicState Ioapic::Save() const {
  MutexLock lock(mutex_);
  return state_;
}

}  // namespace mayfly
