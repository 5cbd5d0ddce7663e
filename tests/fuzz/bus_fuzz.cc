#include <algorithm>
#include <array>

#include "base/check.h"
#include "devices/bus.h"
#include "devices/legacy/acpi_pm.h"
#include "devices/legacy/i8042_reset.h"
#include "devices/legacy/ioapic.h"
#include "devices/legacy/serial.h"
#include "devices/virtio/balloon/balloon.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/net/net.h"
#include "devices/virtio/rng/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fakes/fake_blk_backend.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_net_backend.h"
#include "tests/fakes/fake_power_events.h"
#include "tests/fakes/loop.h"
#include "tests/fuzz/byte_reader.h"

// A whole machine without its vCPUs: both buses with everything on them, and any sequence of
// accesses, writes to memory, turns of the loop and input on the console.
namespace mayfly {
namespace {

constexpr uint64_t kMemorySize = uint64_t{16} * 1024;
constexpr uint64_t kVirtioMmio = 0xd0000000;
constexpr uint64_t kIoapic = 0xfec00000;
constexpr uint64_t kIoapicSize = 0x1000;
constexpr uint64_t kSerialPort = 0x3f8;
constexpr uint64_t kI8042Port = 0x64;
constexpr uint64_t kAcpiPmPort = 0x600;

// Routes are messages to local APICs, and to nothing else.
class CheckingSink final : public IoapicSink {
 public:
  void RouteChanged(unsigned pin, std::optional<MsiMessage> message) override {
    CHECK(pin < IoapicState::kPins);
    CHECK(!message || (message->address & ~0xfffffULL) == 0xfee00000);
    CHECK(!message || (message->data & ~0x7ffU) == 0);
  }
};

class PatternEntropy final : public EntropySource {
 public:
  Result<void> Fill(std::span<uint8_t> out) override {
    std::ranges::fill(out, uint8_t{0x5a});
    return {};
  }
};

class BusTarget {
 public:
  BusTarget() {
    CHECK(memory_.Fill(GuestAddress{0}, 0, kMemorySize));
    CHECK(pio_.Insert(kSerialPort, Serial::kSize, serial_.get()));
    CHECK(pio_.Insert(kI8042Port, I8042Reset::kSize, &i8042_));
    CHECK(pio_.Insert(kAcpiPmPort, AcpiPm::kSize, &acpi_pm_));
    CHECK(mmio_.Insert(kIoapic, kIoapicSize, ioapic_.get()));
    AddTransport(
        *BlkDevice::Create(
            {.name = "disk0", .backend = std::make_unique<FakeBlkBackend>(4096), .loop = &loop_}),
        KickMode::kLoop);
    AddTransport(
        *VsockDevice::Create({.name = "vsock", .loop = &loop_, .services = {}}, VsockState{}),
        KickMode::kInline);
    auto wire = std::make_unique<FakeNetBackend>();
    wire_ = wire.get();
    AddTransport(*NetDevice::Create({.name = "net0", .backend = std::move(wire), .loop = &loop_},
                                    NetState{.mac = {0x02, 0, 0, 0, 0, 1}}),
                 KickMode::kLoop);
    AddTransport(*BalloonDevice::Create({.name = "balloon",
                                         .memory = &memory_,
                                         .loop = &loop_,
                                         .stats_interval = std::chrono::milliseconds(1)},
                                        BalloonState{}),
                 KickMode::kLoop);
    AddTransport(RngDevice::Create({"rng", std::make_unique<PatternEntropy>(), nullptr}),
                 KickMode::kInline);
  }

  void Play(ByteReader& in) {
    while (!in.empty()) Step(in);
    CHECK(serial_->room() <= Serial::kFifoSize);
    // What was saved can be restored.
    CHECK(Serial::Create({&line_, &output_}, serial_->Save()));
    CHECK(Ioapic::Create({&sink_}, ioapic_->Save()));
  }

 private:
  void AddTransport(std::unique_ptr<VirtioDevice> device, KickMode mode) {
    const uint64_t base = kVirtioMmio + transports_.size() * MmioTransport::kSize;
    transports_.push_back(*MmioTransport::Create({.name = "fuzz",
                                                  .device = std::move(device),
                                                  .memory = &memory_,
                                                  .interrupt = &line_,
                                                  .loop = &loop_,
                                                  .kick_mode = mode}));
    CHECK(mmio_.Insert(base, MmioTransport::kSize, transports_.back().get()));
  }

  void Step(ByteReader& in) {
    switch (in.Below(9)) {
      case 0:
        return Start(in);
      case 1: {
        const auto address = in.Take<uint16_t>();
        const auto bytes = in.TakeBytes(in.Below(64));
        (void)memory_.Write(GuestAddress{address % kMemorySize}, bytes);
        return;
      }
      case 2:
        return RunReady(&loop_);
      case 3:
        serial_->Enqueue(in.TakeBytes(in.Below(80)));
        return;
      case 4:
        return Access(in, pio_, TakePort(in));
      case 5:
        if (wire_->waiting.size() < 64) wire_->Arrive(in.TakeBytes(in.Below(80)));
        return;
      default:
        return Access(in, mmio_, TakeMmioAddress(in));
    }
  }

  static uint64_t TakePort(ByteReader& in) {
    constexpr std::array<uint64_t, 3> kPorts{kI8042Port, kAcpiPmPort, 0};
    const auto choice = in.Take<uint8_t>();
    if (choice < 160) return kSerialPort + choice % 9;
    const uint64_t port = kPorts[choice % kPorts.size()];
    return port == 0 ? in.Take<uint16_t>() : port + choice / 64;
  }

  static uint64_t TakeMmioAddress(ByteReader& in) {
    const auto choice = in.Take<uint8_t>();
    if (choice < 32) return kIoapic + uint64_t{choice} % 2 * 0x10;
    if (choice < 40) return in.Take<uint64_t>();
    const uint64_t base = kVirtioMmio + choice % 6 * MmioTransport::kSize;
    return base + (choice < 224 ? in.Take<uint8_t>() & ~3ULL : in.Take<uint16_t>() % 0x1000);
  }

  void Access(ByteReader& in, const Bus& bus, uint64_t address) {
    const auto shape = in.Take<uint8_t>();
    const size_t size = (shape & 4) != 0 ? 1 + in.Below(8) : bus_size(bus);
    std::array<uint8_t, 8> bytes{};
    const auto part = std::span(bytes).first(size);
    if ((shape & 1) != 0) {
      if (!bus.Read(address, part)) {
        CHECK(std::ranges::all_of(part, [](uint8_t byte) { return byte == 0xff; }));
      }
      return;
    }
    std::ranges::copy(in.TakeBytes((shape & 2) != 0 ? 1 : size), bytes.begin());
    (void)bus.Write(address, part);
  }
  // What most devices of a bus want.
  [[nodiscard]] size_t bus_size(const Bus& bus) const { return &bus == &pio_ ? 1 : 4; }

  // A driver that gets one device to DRIVER_OK, with its queues where the input puts them.
  void Start(ByteReader& in) {
    MmioTransport* const transport =
        transports_[in.Below(static_cast<unsigned>(transports_.size()))].get();
    FakeDriver driver(&memory_, transport);
    driver.Acknowledge();
    driver.Negotiate(in.Flag() ? ~0ULL : 0);
    const auto size = static_cast<uint16_t>(1U << in.Below(5));
    for (uint32_t i = 0; i < 4; ++i) {
      driver.SetUpQueue(i, {size, in.Take<uint8_t>() * 64ULL, in.Take<uint8_t>() * 64ULL,
                            in.Take<uint8_t>() * 64ULL});
    }
    driver.DriverOk();
  }

  static GuestMemory& Memory() {
    static const std::unique_ptr<GuestMemory> memory = *GuestMemory::Create(kMemorySize);
    return *memory;
  }
  static EventLoop& Loop() {
    static const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
    return *loop;
  }

  GuestMemory& memory_ = Memory();
  EventLoop& loop_ = Loop();
  FakeInterruptLine line_;
  FakePowerEvents power_;
  CheckingSink sink_;
  SerialOutput output_{-1, &loop_};
  std::unique_ptr<Serial> serial_ = *Serial::Create({&line_, &output_});
  std::unique_ptr<Ioapic> ioapic_ = *Ioapic::Create({&sink_});
  AcpiPm acpi_pm_{&power_};
  I8042Reset i8042_{&power_};
  FakeNetBackend* wire_ = nullptr;
  std::vector<std::unique_ptr<MmioTransport>> transports_;
  Bus pio_;
  Bus mmio_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::BusTarget().Play(in);
  return 0;
}
