#include <array>
#include <atomic>
#include <deque>
#include <optional>

#include "base/check.h"
#include "base/thread.h"
#include "devices/virtio/blk/blk.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/rng/rng.h"
#include "devices/virtio/vsock/vsock.h"
#include "tests/fakes/fake_blk_backend.h"
#include "tests/fakes/fake_driver.h"
#include "tests/fakes/loop.h"
#include "tests/fuzz/byte_reader.h"
#include "tests/fuzz/fake_host.h"
#include "tests/fuzz/fuzz_memory.h"

// A second vCPU that rewrites descriptors, rings and headers while the device walks them. It only
// writes values with which every torn mixture of two descriptors still names the lower half of the
// window, or nothing: a device that checks one value and uses another shows as a write to the upper
// half, or, to AddressSanitizer, as an access outside the window and the rings.
//
// The second vCPU writes past all sanitizers, as a guest does: that guest and device race is not
// what ThreadSanitizer is to find here, but races among our own threads, and what the device makes
// of values that change under it.
namespace mayfly {
namespace {

constexpr uint16_t kQueueSize = 8;
// All chains begin with one of these, and nothing else is rewritten: the fewer they are, the more
// often one changes while the device is at it.
constexpr uint16_t kHotDescriptors = 2;
constexpr uint64_t kLowerHalf = FuzzMemory::kWindowSize / 2;
constexpr unsigned kMostQueues = 3;

// One write of the second vCPU's, in eight bytes of the input.
struct RacingWrite {
  uint8_t what;
  uint8_t place;
  uint16_t small;
  uint32_t large;
};
static_assert(sizeof(RacingWrite) == 8);

// Not FuzzMemory::Instance(), which other targets of the same process expect to themselves.
FuzzMemory& Memory() {
  static FuzzMemory memory;
  return memory;
}

template <class T>
[[gnu::no_sanitize_thread, gnu::no_sanitize_address]] void Store(uint64_t address, T value) {
  uint8_t* const ram = Memory().memory()->regions().front().host;
  *reinterpret_cast<volatile T*>(ram + address) = value;
}

void Perform(const RacingWrite& write) {
  // No sum of an address and a length reaches the upper half; 2^32 - 1 reaches beyond RAM.
  constexpr std::array<uint32_t, 8> kLengths{0, 1, 16, 44, 100, 512, 4096, UINT32_MAX};
  constexpr std::array<uint64_t, 4> kNoRam{FuzzMemory::kSize, 0xd0000050, UINT64_MAX,
                                           GuestMemory::kHoleEnd};
  const GuestAddress base{write.place / 16 % kMostQueues * FuzzMemory::kQueueStride};
  const VirtqueueState queue = FakeQueue::StateAt(base, kQueueSize);
  const uint64_t slot = write.place % kQueueSize;
  const uint64_t descriptor = queue.descriptor_table + 16 * (slot % kHotDescriptors);
  const uint64_t in_lower_half = write.small % (kLowerHalf - 4096);
  switch (write.what % 9) {
    case 0:
      return;
    case 1:
      return Store<uint64_t>(descriptor, FuzzMemory::kWindow + in_lower_half);
    case 2:
      return Store<uint64_t>(descriptor, kNoRam[write.small % kNoRam.size()]);
    case 3:
      return Store<uint32_t>(descriptor + 8, kLengths[write.small % kLengths.size()]);
    case 4:
      return Store<uint16_t>(descriptor + 12, write.small % 8);
    case 5:
      return Store<uint16_t>(descriptor + 14, write.small % (kHotDescriptors + 1));
    case 6:
      return Store<uint16_t>(queue.avail_ring + 2, write.small);
    case 7:
      return Store<uint16_t>(queue.avail_ring + 4 + 2 * slot, write.small % (kHotDescriptors + 1));
    default:  // A header or data.
      return Store<uint32_t>(FuzzMemory::kWindow + in_lower_half / 4 * 4, write.large);
  }
}

// The second vCPU: one thread for all executions, which it does not wait for. What it still writes
// when the next one has begun is as hostile there.
class RacingWriter {
 public:
  static constexpr size_t kMostWrites = 32;

  static RacingWriter& Instance() {
    static RacingWriter writer;
    return writer;
  }
  ~RacingWriter() {
    quit_ = true;
    Wake();
  }
  RacingWriter(const RacingWriter&) = delete;
  RacingWriter& operator=(const RacingWriter&) = delete;

  // Repeats these writes, until the next call or for a while.
  void Repeat(std::span<const RacingWrite> writes) {
    for (size_t i = 0; i < kMostWrites; ++i) {
      writes_[i].store(i < writes.size() ? writes[i] : RacingWrite{}, std::memory_order_relaxed);
    }
    Wake();
  }

 private:
  // Longer than an execution takes, so that it sleeps only when the last one is over.
  static constexpr int kRepetitions = 10'000;

  RacingWriter() = default;

  void Wake() {
    ++generation_;
    generation_.notify_all();
  }

  void Run() {
    Memory();  // Made before this thread writes to it.
    while (!quit_) {
      const uint32_t generation = generation_;
      for (int i = 0; i < kRepetitions && generation == generation_; ++i) {
        for (const auto& write : writes_) Perform(write.load(std::memory_order_relaxed));
      }
      generation_.wait(generation);
    }
  }

  std::array<std::atomic<RacingWrite>, kMostWrites> writes_{};
  std::atomic<uint32_t> generation_{0};
  std::atomic<bool> quit_{false};
  Thread thread_{"vcpu-1", [this] { Run(); }};
};

class RaceTarget {
 public:
  explicit RaceTarget(ByteReader& in)
      : device_(MakeDevice(in)), queue_count_(device_->queue_sizes().size()) {
    CHECK(queue_count_ <= kMostQueues);
    transport_ = *MmioTransport::Create({.name = "fuzz",
                                         .device = std::move(device_),
                                         .memory = memory_.memory(),
                                         .interrupt = &line_,
                                         .loop = &Loop(),
                                         .kick_mode = KickMode::kInline});
  }

  void Play(ByteReader& in) {
    std::vector<RacingWrite> writes;
    SetUp(in.Flag());
    while (!in.empty() && writes.size() < RacingWriter::kMostWrites) {
      writes.push_back(in.Take<RacingWrite>());
    }
    memory_.NameBuffer(FuzzMemory::kWindow, kLowerHalf, true);
    RacingWriter::Instance().Repeat(writes);
    for (int round = 0; round < kRounds; ++round) {
      for (uint32_t queue = 0; queue < queue_count_; ++queue) {
        rings_[queue].SetAvailIndex(static_cast<uint16_t>(rings_[queue].avail_index() + 3));
        driver_->Kick(queue);
      }
      RunReady(&Loop());
      if ((driver_->status() & mmio::kStatusNeedsReset) != 0) SetUp(round % 2 == 0);
    }
    memory_.Check();
  }

 private:
  static constexpr int kRounds = 32;

  std::unique_ptr<VirtioDevice> MakeDevice(ByteReader& in) {
    host_.mood = {.readable = 100, .takes = 50};
    switch (in.Below(3)) {
      case 0:
        return *BlkDevice::Create(
            {.name = "disk0", .backend = std::make_unique<FakeBlkBackend>(8192), .loop = &Loop()});
      case 1:
        return *VsockDevice::Create(
            {.name = "vsock", .loop = &Loop(), .services = {{kServicePort, &host_}}}, VsockState{});
      default:
        return RngDevice::Create({"rng", std::make_unique<HostEntropy>(), nullptr});
    }
  }

  void SetUp(bool event_index) {
    driver_.emplace(memory_.memory(), transport_.get());
    driver_->Acknowledge();
    driver_->Negotiate(event_index ? ~0ULL : 0);
    rings_.clear();
    for (uint32_t i = 0; i < queue_count_; ++i) {
      rings_.emplace_back(memory_.memory(), memory_.OpenRings(i, kQueueSize), kQueueSize);
      driver_->SetUpQueue(i, rings_.back().state());
      for (uint16_t slot = 0; slot < kQueueSize; ++slot) {
        rings_.back().WriteAvailEntry(slot, slot % kHotDescriptors);
      }
      // Not of zeros: with a length that is written first, address 0 is no place that may be named.
      for (uint16_t descriptor = 0; descriptor < kHotDescriptors; ++descriptor) {
        rings_.back().WriteDescriptor(descriptor, {FuzzMemory::kWindow, 0, 0, 0});
      }
    }
    driver_->DriverOk();
  }

  static EventLoop& Loop() {
    static const std::unique_ptr<EventLoop> loop = *EventLoop::Create();
    return *loop;
  }

  static constexpr uint32_t kServicePort = 1024;

  FuzzMemory& memory_ = Memory();
  FakeInterruptLine line_;
  FakeHost host_;
  std::unique_ptr<VirtioDevice> device_;
  const size_t queue_count_;
  std::unique_ptr<MmioTransport> transport_;
  std::optional<FakeDriver> driver_;
  std::deque<FakeQueue> rings_;
};

}  // namespace
}  // namespace mayfly

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mayfly::ByteReader in(data, size);
  mayfly::Memory().Restart();
  mayfly::RaceTarget(in).Play(in);
  return 0;
}
