#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/result.h"
#include "devices/bus.h"
#include "devices/interrupt_line.h"
#include "devices/legacy/serial_output.h"

namespace mayfly {

struct SerialState {
  uint8_t interrupt_enable = 0;
  uint8_t fifo_control = 0;
  uint8_t line_control = 0;
  uint8_t modem_control = 0;
  uint8_t scratch = 0;
  uint16_t divisor = 12;  // 9600 baud, as after power-on
  bool transmit_interrupt = false;
  std::vector<uint8_t> input;  // At most Serial::kFifoSize.

  bool operator==(const SerialState&) const = default;

  // Calls `visit(name, pointer to member)` for every field, in the order of the snapshot format.
  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("interrupt_enable", &SerialState::interrupt_enable);
    visit("fifo_control", &SerialState::fifo_control);
    visit("line_control", &SerialState::line_control);
    visit("modem_control", &SerialState::modem_control);
    visit("scratch", &SerialState::scratch);
    visit("divisor", &SerialState::divisor);
    visit("transmit_interrupt", &SerialState::transmit_interrupt);
    visit("input", &SerialState::input);
  }
};

// A 16550A UART. Transmission takes no time: the transmitter is always empty. Registers come from
// vCPU threads, input from the I/O thread.
class Serial final : public BusDevice {
 public:
  static constexpr uint64_t kSize = 8;
  // Larger than the chip's 16, so that a paste is not one interrupt a byte.
  static constexpr size_t kFifoSize = 64;

  struct Resources {
    InterruptLine* interrupt;  // Borrowed.
    SerialOutput* output;      // Borrowed.
  };

  // kCorrupt if `state` holds what the registers cannot.
  static Result<std::unique_ptr<Serial>> Create(const Resources& resources,
                                                const SerialState& state = SerialState{});
  Serial(const Serial&) = delete;
  Serial& operator=(const Serial&) = delete;

  // Takes as much of `bytes` as there is room for, and returns how much that was.
  size_t Enqueue(std::span<const uint8_t> bytes);
  // How much Enqueue() would take now.
  [[nodiscard]] size_t room() const;
  // `callback` is called from a vCPU thread, without a lock, when a full FIFO has become empty.
  // Before the vCPUs run.
  void OnDrained(std::function<void()> callback) { on_drained_ = std::move(callback); }

  void Read(uint64_t offset, std::span<uint8_t> bytes) override;
  void Write(uint64_t offset, std::span<const uint8_t> bytes) override;

  [[nodiscard]] SerialState Save() const;

 private:
  Serial(const Resources& resources, SerialState state)
      : interrupt_(resources.interrupt), output_(resources.output), state_(std::move(state)) {}

  uint8_t ReadRegisterLocked(uint64_t offset, bool* drained) REQUIRES(mutex_);
  void WriteRegisterLocked(uint64_t offset, uint8_t value) REQUIRES(mutex_);
  uint8_t ReadReceiveBufferLocked(bool* drained) REQUIRES(mutex_);
  uint8_t IdentifyInterruptLocked() REQUIRES(mutex_);
  void TransmitLocked(uint8_t value) REQUIRES(mutex_);
  void RaiseIfPendingLocked() REQUIRES(mutex_);

  InterruptLine* const interrupt_;
  SerialOutput* const output_;
  std::function<void()> on_drained_;
  mutable Mutex mutex_;
  SerialState state_ GUARDED_BY(mutex_);
};

}  // namespace mayfly
