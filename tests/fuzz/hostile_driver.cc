#include "tests/fuzz/hostile_driver.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "devices/virtio/mmio_registers.h"
#include "devices/virtio/mmio_transport.h"
#include "devices/virtio/virtio_device.h"

namespace mayfly {
namespace {

uint64_t TakeAddress(ByteReader& in, unsigned kind) {
  constexpr std::array<uint64_t, 6> kNoRam{
      FuzzMemory::kSize,     0xd0000050, GuestMemory::kHoleStart,
      GuestMemory::kHoleEnd, UINT64_MAX, UINT64_MAX - 0xfff};
  switch (kind) {
    case 0:
      return FuzzMemory::kSize - in.Take<uint8_t>();
    case 1:
      return kNoRam[in.Below(kNoRam.size())];
    case 2:  // In some queue's rings; not often, because FuzzMemory is slow then.
      if (in.Below(4) != 0) return FuzzMemory::kWindow;
      return in.Below(FuzzMemory::kMostQueues) * FuzzMemory::kQueueStride +
             in.Below(3) * uint64_t{0x10000} + in.Take<uint8_t>();
    case 3: {
      const auto any = in.Take<uint64_t>();
      return any < FuzzMemory::kWindow ? FuzzMemory::kWindow : any;
    }
    default:
      return FuzzMemory::kWindow + in.Take<uint16_t>() % FuzzMemory::kWindowSize;
  }
}

uint32_t TakeLength(ByteReader& in, unsigned kind) {
  switch (kind) {
    case 0:
      return 0;
    case 1:
      return 512 * in.Below(34);
    case 2:
      return in.Take<uint16_t>();
    case 3:
      return in.Take<uint32_t>();
    default:
      return in.Take<uint8_t>();
  }
}

// Where one queue's registers are; a driver that moves its rings is the transport target's matter.
bool PlacesQueue(uint64_t offset) {
  return offset == mmio::kQueueReady ||
         (offset >= mmio::kQueueDescLow && offset <= mmio::kQueueDeviceHigh);
}

}  // namespace

void HostileDriver::Start(ByteReader& in) {
  const auto features = in.Take<uint8_t>();
  size_ = static_cast<uint16_t>(1U << in.Below(5));
  driver_.Acknowledge();
  // All, none, or some of the first bits; EVENT_IDX by itself.
  const uint64_t wanted = (features & 1) != 0 ? ~kFeatureEventIndex : features;
  driver_.Negotiate(wanted | ((features & 2) != 0 ? kFeatureEventIndex : 0));
  queues_.clear();
  models_.assign(queue_count_, Model{});
  for (size_t i = 0; i < queue_count_; ++i) {
    queues_.emplace_back(memory_->memory(), memory_->OpenRings(i, size_), size_);
    driver_.SetUpQueue(static_cast<uint32_t>(i), queues_.back().state());
  }
  driver_.DriverOk();
}

void HostileDriver::Act(ByteReader& in) {
  const unsigned action = in.Below(12);
  const size_t queue = in.Below(static_cast<unsigned>(queue_count_));
  switch (action) {
    case 0: {
      std::array<FakeDescriptor, 4> descriptors{};
      const size_t count = 1 + in.Below(4);
      for (size_t i = 0; i < count; ++i) descriptors[i] = TakeDescriptor(in);
      return Publish(queue, std::span(descriptors).first(count));
    }
    case 1:
      return NonsenseInRings(in, queue);
    case 2: {
      const auto offset = in.Take<uint16_t>();
      return memory_->Write(offset, in.TakeBytes(in.Take<uint8_t>()));
    }
    case 3:
      return AccessRegister(in);
    case 4:
      driver_.TakeInterrupt();
      return Reap(queue);
    case 5:
      return queues_[queue].SetUsedEvent(in.Take<uint16_t>());
    case 6:
      return queues_[queue].SetAvailFlags(in.Below(2) == 0 ? 0 : in.Take<uint16_t>());
    case 7:
      if (in.Below(4) == 0) Start(in);
      return;
    default:
      return Kick(static_cast<uint32_t>(queue));
  }
}

FakeDescriptor HostileDriver::TakeDescriptor(ByteReader& in) {
  const auto shape = in.Take<uint8_t>();
  FakeDescriptor descriptor{};
  descriptor.address = TakeAddress(in, shape & 7);
  descriptor.length = TakeLength(in, shape >> 3 & 7);
  descriptor.flags = (shape & 0x40) != 0 ? kFakeWrite : 0;
  if ((shape & 0x80) != 0 && in.Below(8) == 0) descriptor.flags |= kFakeIndirect;
  return descriptor;
}

void HostileDriver::WriteDescriptor(size_t queue, uint16_t index,
                                    const FakeDescriptor& descriptor) {
  memory_->NameBuffer(descriptor.address, descriptor.length, (descriptor.flags & kFakeWrite) != 0);
  models_[queue].table[index] = descriptor;
  models_[queue].changed = true;
  queues_[queue].WriteDescriptor(index, descriptor);
}

void HostileDriver::WriteAvail(size_t queue, uint16_t slot, uint16_t head) {
  models_[queue].avail[slot] = head;
  models_[queue].changed = true;
  queues_[queue].WriteAvailEntry(slot, head);
}

void HostileDriver::Publish(size_t queue, std::span<FakeDescriptor> descriptors) {
  Model& model = models_[queue];
  const uint16_t head = model.next_descriptor;
  for (size_t i = 0; i < descriptors.size(); ++i) {
    const uint16_t index = model.next_descriptor;
    model.next_descriptor = static_cast<uint16_t>((index + 1) % size_);
    if (i + 1 < descriptors.size()) {
      descriptors[i].flags |= kFakeNext;
      descriptors[i].next = model.next_descriptor;
    }
    WriteDescriptor(queue, index, descriptors[i]);
  }
  const uint16_t avail = queues_[queue].avail_index();
  WriteAvail(queue, static_cast<uint16_t>(avail % size_), head);
  queues_[queue].SetAvailIndex(static_cast<uint16_t>(avail + 1));
}

void HostileDriver::Submit(ByteReader& in, size_t queue, std::span<const uint8_t> header) {
  // Where the header starts, how it is framed, and what comes behind it.
  const uint64_t offset = in.Take<uint8_t>() * 64ULL % FuzzMemory::kWindowSize;
  const size_t split = in.Below(4) == 0 ? in.Take<uint8_t>() % (header.size() + 1) : header.size();
  const size_t behind = in.Below(4);
  memory_->Write(offset, header);
  std::array<FakeDescriptor, 5> descriptors{};
  size_t count = 0;
  const uint64_t start = FuzzMemory::kWindow + offset;
  descriptors[count++] = {start, static_cast<uint32_t>(split), 0, 0};
  if (split != header.size()) {
    descriptors[count++] = {start + split, static_cast<uint32_t>(header.size() - split), 0, 0};
  }
  for (size_t i = 0; i < behind; ++i) descriptors[count++] = TakeDescriptor(in);
  Publish(queue, std::span(descriptors).first(count));
}

void HostileDriver::SubmitWritable(ByteReader& in, size_t queue, uint32_t length) {
  std::array<FakeDescriptor, 1> descriptors{};
  const uint64_t offset = in.Take<uint8_t>() * 64ULL;
  descriptors[0] = {FuzzMemory::kWindow + offset, length, kFakeWrite, 0};
  Publish(queue, descriptors);
}

void HostileDriver::NonsenseInRings(ByteReader& in, size_t queue) {
  const auto index = static_cast<uint16_t>(in.Below(size_));
  switch (in.Below(3)) {
    case 0: {
      FakeDescriptor descriptor = TakeDescriptor(in);
      descriptor.flags |= in.Take<uint8_t>();
      descriptor.next = in.Take<uint8_t>();
      return WriteDescriptor(queue, index, descriptor);
    }
    case 1:
      return WriteAvail(queue, index, in.Flag() ? in.Take<uint16_t>() : in.Take<uint8_t>());
    default: {
      const auto jump = static_cast<int16_t>(in.Flag() ? in.Take<int16_t>() : in.Take<int8_t>());
      const int to = queues_[queue].avail_index() + jump;
      return queues_[queue].SetAvailIndex(static_cast<uint16_t>(to));
    }
  }
}

void HostileDriver::AccessRegister(ByteReader& in) {
  constexpr std::array<size_t, 4> kSizes{4, 1, 2, 8};
  const auto shape = in.Take<uint8_t>();
  const size_t size = kSizes[shape & 3];
  uint64_t offset = in.Take<uint8_t>();
  if ((shape & 4) != 0) offset = std::min(mmio::kConfig + offset, MmioTransport::kSize - size);
  std::array<uint8_t, 8> bytes{};
  if ((shape & 8) != 0) {
    std::ranges::copy(in.TakeBytes(size), bytes.begin());
    // A kick goes the same way as those of Kick().
    if (offset == mmio::kQueueNotify) return Kick(bytes[0]);
    if (!PlacesQueue(offset)) driver_.transport().Write(offset, std::span(bytes).first(size));
  } else {
    driver_.transport().Read(offset, std::span(bytes).first(size));
  }
}

void HostileDriver::Kick(uint32_t queue) {
  BeforeDevice();
  driver_.Kick(queue);
  AfterDevice();
}

void HostileDriver::BeforeDevice() {
  for (Model& model : models_) {
    model.may_be_used += size_;
    if (!std::exchange(model.changed, false)) continue;
    for (uint16_t slot = 0; slot < size_; ++slot) {
      const uint16_t head = model.avail[slot];
      if (head >= size_) continue;
      model.writable[head] = std::max(model.writable[head], WritableLength(model, head));
    }
  }
}

void HostileDriver::AfterDevice() {
  constexpr uint32_t kLive = mmio::kStatusAcknowledge | mmio::kStatusDriver |
                             mmio::kStatusFeaturesOk | mmio::kStatusDriverOk;
  constexpr std::array<uint32_t, 6> kStatuses{0, 1, 3, 11, kLive, kLive | mmio::kStatusNeedsReset};
  const uint32_t status = driver_.status() & ~mmio::kStatusFailed;
  CHECK(std::ranges::find(kStatuses, status) != kStatuses.end());
  memory_->NoticeDiscards();
  if (memory_->open()) return;
  for (size_t i = 0; i < queues_.size(); ++i) {
    const uint16_t used = queues_[i].used_index();
    const auto more = static_cast<uint16_t>(used - models_[i].used);
    CHECK(more <= models_[i].may_be_used);
    models_[i].may_be_used -= more;
    models_[i].used = used;
  }
}

void HostileDriver::Check() {
  for (size_t i = 0; i < queues_.size(); ++i) Reap(i);
  memory_->Check();
}

void HostileDriver::Reap(size_t queue) {
  // Where the device overwrote the used ring, an index may be anything.
  for (int i = 0; i < UINT16_MAX && !memory_->open(); ++i) {
    const auto used = queues_[queue].PopUsed();
    if (!used) return;
    CHECK(used->head < size_);
    CHECK(used->length <= models_[queue].writable[used->head]);
  }
}

uint64_t HostileDriver::WritableLength(const Model& model, uint16_t head) const {
  uint64_t length = 0;
  uint16_t index = head;
  for (uint16_t i = 0; i < size_ && index < size_; ++i) {
    const FakeDescriptor& descriptor = model.table[index];
    if ((descriptor.flags & kFakeWrite) != 0) length += descriptor.length;
    if ((descriptor.flags & kFakeNext) == 0) break;
    index = descriptor.next;
  }
  return length;
}

}  // namespace mayfly
