#include "devices/legacy/serial.h"

#include <fmt/format.h>

#include <algorithm>

namespace mayfly {
namespace {

// Registers and bits (National Semiconductor PC16550D data sheet, section 8).
enum Register : uint64_t {
  kData = 0,             // RBR, THR; with DLAB the divisor's low byte
  kInterruptEnable = 1,  // with DLAB the divisor's high byte
  kInterruptIdent = 2,   // FCR when written
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};

constexpr uint8_t kEnableReceive = 1 << 0;
constexpr uint8_t kEnableTransmit = 1 << 1;
constexpr uint8_t kEnableMask = 0x0f;

constexpr uint8_t kIdentNone = 1 << 0;
constexpr uint8_t kIdentTransmit = 1 << 1;
constexpr uint8_t kIdentReceive = 1 << 2;
constexpr uint8_t kIdentFifos = 0xc0;

constexpr uint8_t kFifoEnable = 1 << 0;
constexpr uint8_t kFifoClearReceive = 1 << 1;
constexpr uint8_t kFifoMask = 0xc9;  // Enable, DMA mode, trigger level

constexpr uint8_t kDivisorLatch = 1 << 7;

constexpr uint8_t kOut2 = 1 << 3;
constexpr uint8_t kLoopback = 1 << 4;
constexpr uint8_t kModemControlMask = 0x1f;

constexpr uint8_t kDataReady = 1 << 0;
constexpr uint8_t kTransmitEmpty = 1 << 5 | 1 << 6;

constexpr uint8_t kClearToSend = 1 << 4;
constexpr uint8_t kDataSetReady = 1 << 5;
constexpr uint8_t kRingIndicator = 1 << 6;
constexpr uint8_t kCarrierDetect = 1 << 7;

// In loopback mode the modem's outputs are its inputs (data sheet, section 8.6.7).
uint8_t LoopedModemStatus(uint8_t control) {
  uint8_t status = 0;
  if ((control & 1 << 0) != 0) status |= kDataSetReady;
  if ((control & 1 << 1) != 0) status |= kClearToSend;
  if ((control & 1 << 2) != 0) status |= kRingIndicator;
  if ((control & kOut2) != 0) status |= kCarrierDetect;
  return status;
}

}  // namespace

Result<std::unique_ptr<Serial>> Serial::Create(const Resources& resources,
                                               const SerialState& state) {
  const auto check = [](std::string_view field, uint8_t value, uint8_t mask) -> Result<void> {
    if ((value & ~mask) == 0) return {};
    return Fail(ErrorCode::kCorrupt, fmt::format("serial: {}: {:#x}", field, value));
  };
  TRY(check("interrupt_enable", state.interrupt_enable, kEnableMask));
  TRY(check("fifo_control", state.fifo_control, kFifoMask));
  TRY(check("modem_control", state.modem_control, kModemControlMask));
  if (state.input.size() > kFifoSize) {
    return Fail(ErrorCode::kCorrupt, fmt::format("serial: input: {} bytes", state.input.size()));
  }
  return std::unique_ptr<Serial>(new Serial(resources, state));
}

void Serial::Read(uint64_t offset, std::span<uint8_t> bytes) {
  std::ranges::fill(bytes, 0);
  if (bytes.size() != 1) return;
  bool drained = false;
  {
    MutexLock lock(mutex_);
    bytes[0] = ReadRegisterLocked(offset, &drained);
  }
  if (drained && on_drained_) on_drained_();
}

void Serial::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (bytes.size() != 1) return;
  MutexLock lock(mutex_);
  WriteRegisterLocked(offset, bytes[0]);
}

uint8_t Serial::ReadRegisterLocked(uint64_t offset, bool* drained) {
  const bool divisor_latch = (state_.line_control & kDivisorLatch) != 0;
  switch (offset) {
    case kData:
      return divisor_latch ? static_cast<uint8_t>(state_.divisor)
                           : ReadReceiveBufferLocked(drained);
    case kInterruptEnable:
      return divisor_latch ? static_cast<uint8_t>(state_.divisor >> 8) : state_.interrupt_enable;
    case kInterruptIdent:
      return IdentifyInterruptLocked();
    case kLineControl:
      return state_.line_control;
    case kModemControl:
      return state_.modem_control;
    case kLineStatus:
      return static_cast<uint8_t>(kTransmitEmpty | (state_.input.empty() ? 0 : kDataReady));
    case kModemStatus:
      return (state_.modem_control & kLoopback) != 0
                 ? LoopedModemStatus(state_.modem_control)
                 : static_cast<uint8_t>(kClearToSend | kDataSetReady | kCarrierDetect);
    case kScratch:
      return state_.scratch;
    default:
      return 0;
  }
}

void Serial::WriteRegisterLocked(uint64_t offset, uint8_t value) {
  const bool divisor_latch = (state_.line_control & kDivisorLatch) != 0;
  switch (offset) {
    case kData:
      if (divisor_latch) {
        state_.divisor = static_cast<uint16_t>((state_.divisor & 0xff00) | value);
      } else {
        TransmitLocked(value);
      }
      break;
    case kInterruptEnable:
      if (divisor_latch) {
        state_.divisor = static_cast<uint16_t>((state_.divisor & 0x00ff) | value << 8);
        break;
      }
      // Enabling the transmit interrupt while the transmitter is empty raises it.
      if ((value & ~state_.interrupt_enable & kEnableTransmit) != 0) {
        state_.transmit_interrupt = true;
      }
      state_.interrupt_enable = value & kEnableMask;
      RaiseIfPendingLocked();
      break;
    case kInterruptIdent:
      state_.fifo_control = value & kFifoMask;
      if ((value & kFifoClearReceive) != 0) state_.input.clear();
      break;
    case kLineControl:
      state_.line_control = value;
      break;
    case kModemControl:
      state_.modem_control = value & kModemControlMask;
      break;
    case kScratch:
      state_.scratch = value;
      break;
    default:
      break;
  }
}

uint8_t Serial::ReadReceiveBufferLocked(bool* drained) {
  if (state_.input.empty()) return 0;
  const uint8_t value = state_.input.front();
  state_.input.erase(state_.input.begin());
  *drained = state_.input.empty();
  if (!*drained) RaiseIfPendingLocked();
  return value;
}

uint8_t Serial::IdentifyInterruptLocked() {
  const uint8_t fifos = (state_.fifo_control & kFifoEnable) != 0 ? kIdentFifos : 0;
  if ((state_.interrupt_enable & kEnableReceive) != 0 && !state_.input.empty()) {
    return fifos | kIdentReceive;
  }
  if ((state_.interrupt_enable & kEnableTransmit) != 0 && state_.transmit_interrupt) {
    state_.transmit_interrupt = false;  // Reading the identification acknowledges it.
    return fifos | kIdentTransmit;
  }
  return fifos | kIdentNone;
}

void Serial::TransmitLocked(uint8_t value) {
  if ((state_.modem_control & kLoopback) != 0) {
    if (state_.input.size() < kFifoSize) state_.input.push_back(value);
  } else {
    output_->Write({&value, 1});
  }
  state_.transmit_interrupt = true;
  RaiseIfPendingLocked();
}

void Serial::RaiseIfPendingLocked() {
  const bool receive = (state_.interrupt_enable & kEnableReceive) != 0 && !state_.input.empty();
  const bool transmit =
      (state_.interrupt_enable & kEnableTransmit) != 0 && state_.transmit_interrupt;
  if (receive || transmit) interrupt_->Raise();
}

size_t Serial::Enqueue(std::span<const uint8_t> bytes) {
  MutexLock lock(mutex_);
  // In loopback mode the line is cut off.
  if ((state_.modem_control & kLoopback) != 0) return 0;
  const size_t count = std::min(bytes.size(), kFifoSize - state_.input.size());
  state_.input.insert(state_.input.end(), bytes.begin(),
                      bytes.begin() + static_cast<ptrdiff_t>(count));
  if (count > 0) RaiseIfPendingLocked();
  return count;
}

size_t Serial::room() const {
  MutexLock lock(mutex_);
  return kFifoSize - state_.input.size();
}

SerialState Serial::Save() const {
  MutexLock lock(mutex_);
  return state_;
}

}  // namespace mayfly
