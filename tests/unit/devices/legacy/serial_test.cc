#include "devices/legacy/serial.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

#include "base/unique_fd.h"
#include "tests/fakes/fake_queue.h"
#include "tests/unit/devices/legacy/bus_access.h"

namespace mayfly {
namespace {

// Registers of the PC16550D data sheet.
enum Register : uint64_t {
  kData = 0,
  kInterruptEnable = 1,
  kInterruptIdent = 2,
  kFifoControl = 2,
  kLineControl = 3,
  kModemControl = 4,
  kLineStatus = 5,
  kModemStatus = 6,
  kScratch = 7,
};
constexpr uint8_t kDivisorLatch = 0x80;
constexpr uint8_t kLoopback = 0x10;
constexpr uint8_t kIdentNone = 1;
constexpr uint8_t kIdentTransmit = 2;
constexpr uint8_t kIdentReceive = 4;

class SerialTest : public ::testing::Test {
 protected:
  SerialTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
    reader_ = UniqueFd(ends[0]);
    writer_ = UniqueFd(ends[1]);
    output_ = std::make_unique<SerialOutput>(writer_.get(), loop_.get());
    serial_ = *Serial::Create({&line_, output_.get()});
  }
  // What the guest has printed.
  std::string Printed() {
    std::string text(100, '\0');
    const ssize_t count = ::read(reader_.get(), text.data(), text.size());
    text.resize(count < 0 ? 0 : static_cast<size_t>(count));
    return text;
  }
  std::string Refusal(const SerialState& state) {
    const auto result = Serial::Create({&line_, output_.get()}, state);
    return result ? "" : result.error().message();
  }

  std::unique_ptr<EventLoop> loop_ = *EventLoop::Create();
  UniqueFd reader_;
  UniqueFd writer_;
  FakeInterruptLine line_;
  std::unique_ptr<SerialOutput> output_;
  std::unique_ptr<Serial> serial_;
};

// Registers.

TEST_F(SerialTest, TransmitterIsAlwaysEmpty) { EXPECT_EQ(Read8(*serial_, kLineStatus), 0x60); }

TEST_F(SerialTest, DivisorIsBehindTheLatch) {
  Write8(*serial_, kLineControl, kDivisorLatch | 3);
  EXPECT_EQ(Read8(*serial_, kData), 12);
  EXPECT_EQ(Read8(*serial_, kInterruptEnable), 0);
  Write8(*serial_, kData, 0x34);
  Write8(*serial_, kInterruptEnable, 0x12);

  EXPECT_EQ(Read8(*serial_, kData), 0x34);
  EXPECT_EQ(Read8(*serial_, kInterruptEnable), 0x12);
  EXPECT_EQ(Read8(*serial_, kLineControl), kDivisorLatch | 3);
  EXPECT_EQ(Printed(), "");
  EXPECT_EQ(serial_->Save().divisor, 0x1234);
}

TEST_F(SerialTest, ScratchKeepsWhatIsWritten) {
  Write8(*serial_, kScratch, 0x5a);
  EXPECT_EQ(Read8(*serial_, kScratch), 0x5a);
}

TEST_F(SerialTest, RegistersKeepOnlyTheBitsThatExist) {
  Write8(*serial_, kInterruptEnable, 0xff);
  Write8(*serial_, kModemControl, 0xff);
  EXPECT_EQ(Read8(*serial_, kInterruptEnable), 0x0f);
  EXPECT_EQ(Read8(*serial_, kModemControl), 0x1f);
}

TEST_F(SerialTest, StatusRegistersIgnoreWrites) {
  Write8(*serial_, kLineStatus, 0);
  Write8(*serial_, kModemStatus, 0);
  EXPECT_EQ(Read8(*serial_, kLineStatus), 0x60);
  EXPECT_EQ(Read8(*serial_, kModemStatus), 0xb0);
}

TEST_F(SerialTest, WiderAccessesReadZeroAndWriteNothing) {
  serial_->Write(kScratch - 1, Bytes{1, 2});
  EXPECT_EQ(ReadBytes(*serial_, kLineStatus, 2), (Bytes{0, 0}));
  EXPECT_EQ(Read8(*serial_, kScratch), 0);
}

TEST_F(SerialTest, OffsetBeyondTheRegistersReadsZero) {
  Write8(*serial_, Serial::kSize, 1);
  EXPECT_EQ(Read8(*serial_, Serial::kSize), 0);
}

TEST_F(SerialTest, FifosAreIdentifiedOnceEnabled) {
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), kIdentNone);
  Write8(*serial_, kFifoControl, 1);
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), 0xc0 | kIdentNone);
}

// Output.

TEST_F(SerialTest, DataGoesToTheOutput) {
  Write8(*serial_, kData, 'h');
  Write8(*serial_, kData, 'i');
  EXPECT_EQ(Printed(), "hi");
}

TEST_F(SerialTest, EnablingTheTransmitInterruptRaisesIt) {
  Write8(*serial_, kInterruptEnable, 2);
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), kIdentTransmit);
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), kIdentNone);
}

TEST_F(SerialTest, EveryByteRaisesTheTransmitInterruptAgain) {
  Write8(*serial_, kInterruptEnable, 2);
  Read8(*serial_, kInterruptIdent);
  Write8(*serial_, kData, 'x');
  EXPECT_EQ(line_.raised, 2);
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), kIdentTransmit);
}

// Input.

TEST_F(SerialTest, InputIsReadInOrderAndDrained) {
  int drained = 0;
  serial_->OnDrained([&] { ++drained; });
  EXPECT_EQ(serial_->Enqueue(Bytes{'a', 'b'}), 2);

  EXPECT_EQ(Read8(*serial_, kLineStatus), 0x61);
  EXPECT_EQ(Read8(*serial_, kData), 'a');
  EXPECT_EQ(drained, 0);
  EXPECT_EQ(Read8(*serial_, kData), 'b');
  EXPECT_EQ(drained, 1);
  EXPECT_EQ(Read8(*serial_, kData), 0);
  EXPECT_EQ(drained, 1);
}

TEST_F(SerialTest, InputRaisesTheReceiveInterruptUntilItIsRead) {
  Write8(*serial_, kInterruptEnable, 1);
  serial_->Enqueue(Bytes{'a', 'b'});
  EXPECT_EQ(line_.raised, 1);
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), kIdentReceive);
  Read8(*serial_, kData);
  EXPECT_EQ(line_.raised, 2);
  Read8(*serial_, kData);
  EXPECT_EQ(Read8(*serial_, kInterruptIdent), kIdentNone);
}

TEST_F(SerialTest, InputBeyondTheFifoIsLeftWithTheCaller) {
  EXPECT_EQ(serial_->Enqueue(Bytes(100, 'x')), Serial::kFifoSize);
  EXPECT_EQ(serial_->room(), 0);
  EXPECT_EQ(serial_->Enqueue(Bytes{'y'}), 0);
}

TEST_F(SerialTest, ClearingTheFifoDropsTheInput) {
  serial_->Enqueue(Bytes{'a'});
  Write8(*serial_, kFifoControl, 1 << 1 | 1);
  EXPECT_EQ(Read8(*serial_, kLineStatus), 0x60);
}

// Loopback.

TEST_F(SerialTest, LoopbackReturnsWhatIsSent) {
  Write8(*serial_, kModemControl, kLoopback);
  Write8(*serial_, kData, 'x');
  EXPECT_EQ(Printed(), "");
  EXPECT_EQ(Read8(*serial_, kData), 'x');
}

TEST_F(SerialTest, LoopbackCutsTheLineOff) {
  Write8(*serial_, kModemControl, kLoopback);
  EXPECT_EQ(serial_->Enqueue(Bytes{'a'}), 0);
}

TEST_F(SerialTest, LoopbackHoldsNoMoreThanTheFifo) {
  Write8(*serial_, kModemControl, kLoopback);
  for (size_t i = 0; i <= Serial::kFifoSize; ++i) Write8(*serial_, kData, 'x');
  EXPECT_EQ(serial_->Save().input.size(), Serial::kFifoSize);
}

TEST_F(SerialTest, LoopbackConnectsTheModemsOutputsToItsInputs) {
  Write8(*serial_, kModemControl, kLoopback);
  EXPECT_EQ(Read8(*serial_, kModemStatus), 0);
  Write8(*serial_, kModemControl, kLoopback | 0x0f);
  EXPECT_EQ(Read8(*serial_, kModemStatus), 0xf0);
}

// State.

TEST_F(SerialTest, StateSurvivesARoundTrip) {
  Write8(*serial_, kInterruptEnable, 3);
  Write8(*serial_, kScratch, 9);
  serial_->Enqueue(Bytes{'a'});
  const SerialState saved = serial_->Save();
  const auto restored = *Serial::Create({&line_, output_.get()}, saved);
  EXPECT_EQ(restored->Save(), saved);
}

TEST_F(SerialTest, StateWithAnImpossibleInterruptEnableIsRefused) {
  SerialState state;
  state.interrupt_enable = 0x10;
  EXPECT_EQ(Refusal(state), "serial: interrupt_enable: 0x10");
}

TEST_F(SerialTest, StateWithAnImpossibleFifoControlIsRefused) {
  SerialState state;
  state.fifo_control = 0x02;
  EXPECT_EQ(Refusal(state), "serial: fifo_control: 0x2");
}

TEST_F(SerialTest, StateWithAnImpossibleModemControlIsRefused) {
  SerialState state;
  state.modem_control = 0x20;
  EXPECT_EQ(Refusal(state), "serial: modem_control: 0x20");
}

TEST_F(SerialTest, StateWithMoreInputThanTheFifoIsRefused) {
  SerialState state;
  state.input = Bytes(65);
  EXPECT_EQ(Refusal(state), "serial: input: 65 bytes");
}

}  // namespace
}  // namespace mayfly
