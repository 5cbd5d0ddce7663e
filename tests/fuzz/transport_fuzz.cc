#include <algorithm>
#include <array>

#include "base/check.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/fake_virtio_device.h"
#include "tests/fakes/loop.h"
#include "tests/fuzz/byte_reader.h"

// The register file: accesses in any order, of any size, with queues anywhere in a small memory;
// and states from a snapshot. A state that was saved is restored to the same; one that is accepted
// is saved as it was.
namespace mayfly {
namespace {

constexpr uint64_t kMemorySize = uint64_t{16} * 1024;

class TransportTarget {
 public:
  explicit TransportTarget(ByteReader& in)
      : mode_(in.Flag() ? KickMode::kLoop : KickMode::kInline) {
    CHECK(memory_.Fill(GuestAddress{0}, 0, kMemorySize));
    transport_ = *Make(MmioState{});
  }

  void Play(ByteReader& in) {
    while (!in.empty()) {
      Step(in);
      const uint32_t status = FakeDriver(&memory_, transport_.get()).status();
      CHECK((status & mmio::kStatusDriverOk) == 0 || (status & mmio::kStatusFeaturesOk) != 0);
      CHECK(device_->activations - device_->resets == (activated() ? 1 : 0));
    }
  }

 private:
  [[nodiscard]] bool activated() const { return !device_->queues.empty(); }

  Result<std::unique_ptr<MmioTransport>> Make(const MmioState& state) {
    auto device = std::make_unique<FakeVirtioDevice>();
    FakeVirtioDevice* const made = device.get();
    made->on_process = [made](uint16_t index) { Serve(made->queues[index]); };
    auto transport = MmioTransport::Create({.name = "fuzz",
                                            .device = std::move(device),
                                            .memory = &memory_,
                                            .interrupt = &line_,
                                            .loop = &loop_,
                                            .kick_mode = mode_},
                                           state);
    if (transport) device_ = made;
    return transport;
  }

  static void Serve(Virtqueue& queue) {
    for (int i = 0; i < 16; ++i) {
      auto chain = queue.Pop();
      if (!chain) break;
      queue.Complete(*std::move(chain), 0);
    }
    queue.Notify();
  }

  void Step(ByteReader& in) {
    switch (in.Below(8)) {
      case 0:
        return Start(in);
      case 1:
        return RunReady(&loop_);
      case 2:
        return transport_->ConfigChanged();
      case 3: {
        const auto address = in.Take<uint16_t>();
        const auto bytes = in.TakeBytes(in.Below(32));
        (void)memory_.Write(GuestAddress{address % kMemorySize}, bytes);
        return;
      }
      case 4:
        return Resume();
      case 5:
        return Restore(in);
      default:
        return Access(in);
    }
  }

  void Access(ByteReader& in) {
    constexpr std::array<uint64_t, 20> kRegisters{
        mmio::kStatus,          mmio::kQueueNotify,       mmio::kDriverFeatures,
        mmio::kQueueSel,        mmio::kDriverFeaturesSel, mmio::kQueueSize,
        mmio::kQueueReady,      mmio::kQueueDescLow,      mmio::kQueueDriverLow,
        mmio::kQueueDeviceLow,  mmio::kInterruptAck,      mmio::kDeviceFeaturesSel,
        mmio::kInterruptStatus, mmio::kQueueDescHigh,     mmio::kQueueDriverHigh,
        mmio::kQueueDeviceHigh, mmio::kDeviceFeatures,    mmio::kQueueSizeMax,
        mmio::kConfig,          mmio::kConfigGeneration};
    const auto shape = in.Take<uint8_t>();
    std::array<uint8_t, 8> bytes{};
    size_t size = sizeof(uint32_t);
    uint64_t offset = kRegisters[(shape & 0x3f) % kRegisters.size()];
    if ((shape & 0x40) != 0) {
      size = 1 + in.Below(8);
      offset = std::min<uint64_t>(in.Take<uint16_t>(), MmioTransport::kSize - size);
    }
    if ((shape & 0x80) != 0) return transport_->Read(offset, std::span(bytes).first(size));
    std::ranges::copy(in.TakeBytes(size), bytes.begin());
    transport_->Write(offset, std::span(bytes).first(size));
  }

  // A driver that gets to DRIVER_OK, with queues where the input puts them.
  void Start(ByteReader& in) {
    FakeDriver driver(&memory_, transport_.get());
    driver.Acknowledge();
    driver.Negotiate(in.Flag() ? ~0ULL : 0);
    for (uint32_t i = 0; i < 2; ++i) {
      VirtqueueState queue;
      queue.size = static_cast<uint16_t>(1U << in.Below(5));
      queue.descriptor_table = in.Take<uint8_t>() * 64ULL;
      queue.avail_ring = in.Take<uint8_t>() * 64ULL;
      queue.used_ring = in.Take<uint8_t>() * 64ULL;
      driver.SetUpQueue(i, queue);
    }
    driver.DriverOk();
  }

  // The same machine, saved and restored.
  void Resume() {
    MmioState saved = transport_->Save();
    transport_.reset();
    transport_ = *Make(saved);
    // A kick that nobody will ever look at is not kept.
    if (saved.status != 15) saved.pending_kicks = 0;
    // Of a broken device nothing but a reset is left.
    CHECK(transport_->Save() == saved);
  }

  void Restore(ByteReader& in) {
    MmioState state;
    state.device_id = in.Below(8) == 0 ? in.Take<uint32_t>() : FakeVirtioDevice::kType;
    state.status = in.Below(4) == 0 ? in.Take<uint32_t>() : in.Flag() ? 15 : in.Below(16);
    state.interrupt_status = in.Below(4);
    state.config_generation = in.Take<uint8_t>();
    state.driver_features_sel = in.Take<uint8_t>();
    state.driver_features = kFeatureVersion1 | in.Take<uint8_t>();
    state.queue_sel = in.Take<uint8_t>();
    state.pending_kicks = in.Below(8);
    state.queues.resize(in.Below(8) == 0 ? in.Below(4) : 2);
    for (MmioQueueState& queue : state.queues) {
      queue.size = in.Below(4) == 0 ? in.Take<uint32_t>() : 1U << in.Below(5);
      queue.ready = in.Flag();
      queue.descriptor_table = in.Take<uint8_t>() * 64ULL;
      queue.avail_ring = in.Take<uint8_t>() * 64ULL;
      queue.used_ring = in.Below(8) == 0 ? in.Take<uint64_t>() : in.Take<uint8_t>() * 64ULL;
      queue.next_avail = in.Take<uint16_t>();
      queue.next_used = in.Take<uint16_t>();
      queue.signalled_used = in.Take<uint16_t>();
    }
    auto restored = Make(state);
    if (!restored) return;
    transport_ = *std::move(restored);
    const MmioState saved = transport_->Save();
    CHECK(saved.status == state.status && saved.driver_features == state.driver_features);
  }

  static GuestMemory& Memory() {
    static const std::unique_ptr<GuestMemory> memory = *GuestMemory::Create(kMemorySize);
    return *memory;
  }
  static EventLoop& Loop() {
    static const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
    return *loop;
  }

  const KickMode mode_;
  GuestMemory& memory_ = Memory();
  EventLoop& loop_ = Loop();
  FakeInterruptLine line_;
  FakeVirtioDevice* device_ = nullptr;
  std::unique_ptr<MmioTransport> transport_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::TransportTarget(in).Play(in);
  return 0;
}
