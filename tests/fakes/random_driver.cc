#include "tests/fakes/random_driver.h"

#include <array>

#include "base/bytes.h"
#include "base/check.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/vsock/packet.h"

namespace mayfly {
namespace {

// Each queue's rings and buffers, in 64 KiB of its own.
constexpr uint64_t kQueueBytes = 0x10000;
constexpr uint64_t kDescriptors = 0;
constexpr uint64_t kAvail = 0x1000;
constexpr uint64_t kUsed = 0x2000;
constexpr uint64_t kBuffers = 0x4000;

constexpr uint16_t kNext = 1;
constexpr uint16_t kWritable = 2;

struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};

constexpr std::array kRegisters{mmio::kDeviceFeaturesSel,
                                mmio::kDriverFeatures,
                                mmio::kDriverFeaturesSel,
                                mmio::kQueueSel,
                                mmio::kQueueSize,
                                mmio::kQueueReady,
                                mmio::kQueueNotify,
                                mmio::kInterruptAck,
                                mmio::kStatus,
                                mmio::kQueueDescLow,
                                mmio::kQueueDescHigh,
                                mmio::kQueueDriverLow,
                                mmio::kQueueDeviceLow,
                                mmio::kShmSel,
                                mmio::kQueueReset,
                                mmio::kConfig};

}  // namespace

void RandomDriver::Step() {
  PickQueue();
  switch (Random(16)) {
    case 0:
      return Start();
    case 1:
    case 2:
      return Access();
    case 3:
      return WriteAnyRegister();
    case 4:
    case 5:
      return WriteAnyDescriptor();
    case 6:
      return MoveIndex();
    case 7:
    case 8:
      return WriteHeader();
    case 9:
    case 10:
      return Kick();
    default:
      return Submit();
  }
}

void RandomDriver::Start() {
  Write(mmio::kStatus, 0);
  Write(mmio::kStatus, 1);
  Write(mmio::kStatus, 3);
  for (uint32_t half = 0; half < 2; ++half) {
    Write(mmio::kDeviceFeaturesSel, half);
    std::array<uint8_t, 4> offered{};
    bus_->Read(registers() + mmio::kDeviceFeatures, offered);
    Write(mmio::kDriverFeaturesSel, half);
    const uint32_t refused = half == 0 ? Random(UINT32_MAX) & Random(UINT32_MAX) : 0;
    Write(mmio::kDriverFeatures, LoadLe<uint32_t>(offered) & ~refused);
  }
  Write(mmio::kStatus, 11);
  for (queue_ = 0; queue_ < kQueues; ++queue_) {
    CHECK(memory_->Fill(ring(kAvail), 0, 64));
    CHECK(memory_->Fill(ring(kUsed), 0, 4));
    Write(mmio::kQueueSel, queue_);
    Write(mmio::kQueueSize, kQueueSize);
    Write(mmio::kQueueDescLow, static_cast<uint32_t>(ring(kDescriptors).value));
    Write(mmio::kQueueDriverLow, static_cast<uint32_t>(ring(kAvail).value));
    Write(mmio::kQueueDeviceLow, static_cast<uint32_t>(ring(kUsed).value));
    Write(mmio::kQueueReady, 1);
  }
  Write(mmio::kStatus, 15);
}

void RandomDriver::Access() {
  const uint64_t address = registers() + Random(0x1000);
  std::array<uint8_t, 8> bytes{};
  StoreLe<uint64_t>(bytes, uint64_t{random_()} * random_());
  const auto access = std::span(bytes).first(Pick({1, 2, 4, 8}));
  if (Random(2) == 0) {
    bus_->Read(address, access);
  } else {
    bus_->Write(address, access);
  }
}

void RandomDriver::WriteAnyRegister() {
  const uint64_t offset = kRegisters[Random(kRegisters.size())];
  Write(offset, static_cast<uint32_t>(Pick({0, 1, 2, 3, 11, 15, 16, 0x80, 0x8f, 256, 0x1000, 0xffff,
                                            0x10000, 0x100000, 0x80000000, 0xffffffff})));
}

void RandomDriver::WriteAnyDescriptor() {
  const uint64_t buffer = ring(kBuffers).value;
  PutDescriptor(static_cast<uint16_t>(Random(kQueueSize)),
                Pick({buffer, buffer, buffer, 0, memory_->size() - 8, 0xc0000000, registers(),
                      0xfffffffffffff000}),
                static_cast<uint32_t>(Pick({0, 1, 12, 16, 44, 512, 4096, 0x10000, 0xffffffff})),
                static_cast<uint16_t>(Pick({0, 1, 1, 2, 2, 3, 3, 4, 5, 0xffff})),
                static_cast<uint16_t>(Pick({0, 1, 2, 3, 15, 16, 0xffff})));
}

void RandomDriver::MoveIndex() {
  Publish(static_cast<uint16_t>(Pick({0, 1, 7, 15, 16, 0xffff})),
          static_cast<uint16_t>(Pick({1, 1, 2, 16, 17, 0x8000, 0xffff})));
}

// What devices find at the start of a request: types, operations, lengths and sectors as single
// words, or the whole header of a vsock packet, which no words at random would make.
void RandomDriver::WriteHeader() {
  const auto word = static_cast<uint32_t>(Pick({0, 1, 2, 3, 4, 8, 11, 44, 512, 1024, 0xffffffff}));
  if (Random(2) == 0) {
    CHECK(memory_->WriteValue(ring(kBuffers) + uint64_t{4} * Random(16), word));
    return;
  }
  vsock::PacketHeader header{};
  header.src_cid = 3;
  header.dst_cid = vsock::kHostCid;
  header.src_port = 1000 + Random(4096);
  header.dst_port = Random(2);
  header.len = word;
  header.type = vsock::kTypeStream;
  header.op = static_cast<uint16_t>(Random(9));
  header.buf_alloc = word;
  header.fwd_cnt = Random(UINT32_MAX);
  CHECK(memory_->WriteValue(ring(kBuffers), header));
}

// A chain as devices expect them: one to four buffers, all readable ones first.
void RandomDriver::Submit() {
  const uint32_t count = 1 + Random(4);
  const uint32_t readable = Random(count + 1);
  const auto head = static_cast<uint16_t>(Random(kQueueSize));
  for (uint32_t i = 0; i < count; ++i) {
    const auto index = static_cast<uint16_t>((head + i) % kQueueSize);
    const auto next = static_cast<uint16_t>((head + i + 1) % kQueueSize);
    const int flags = (i + 1 < count ? kNext : 0) | (i < readable ? 0 : kWritable);
    PutDescriptor(index, ring(kBuffers).value + uint64_t{0x1000} * i,
                  static_cast<uint32_t>(Pick({1, 12, 16, 44, 512, 513, 1500, 4096, 16384})),
                  static_cast<uint16_t>(flags), next);
  }
  Publish(head, 1);
  Kick();
}

void RandomDriver::Kick() {
  Write(mmio::kQueueNotify, Random(64) == 0 ? Random(UINT32_MAX) : queue_);
}

uint64_t RandomDriver::Pick(std::initializer_list<uint64_t> values) {
  return values.begin()[Random(static_cast<uint32_t>(values.size()))];
}

void RandomDriver::PickQueue() {
  device_ = Random(devices_.count);
  queue_ = Random(kQueues);
}

GuestAddress RandomDriver::ring(uint64_t offset) const {
  return GuestAddress{kMemoryStart + (device_ * kQueues + queue_) * kQueueBytes + offset};
}

void RandomDriver::Write(uint64_t offset, uint32_t value) {
  bus_->Write(registers() + offset, BytesOf(value));
}

void RandomDriver::PutDescriptor(uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
                                 uint16_t next) {
  const Descriptor descriptor{address, length, flags, next};
  CHECK(memory_->WriteValue(ring(kDescriptors) + index * sizeof(Descriptor), descriptor));
}

void RandomDriver::Publish(uint16_t head, uint16_t by) {
  uint16_t index = 0;
  CHECK(memory_->ReadValue(ring(kAvail) + 2, &index));
  CHECK(memory_->WriteValue(ring(kAvail) + (4 + 2 * (index % kQueueSize)), head));
  CHECK(memory_->WriteValue(ring(kAvail) + 2, static_cast<uint16_t>(index + by)));
}

}  // namespace mayfly
