#include "tests/fakes/fake_queue.h"

#include "base/arithmetic.h"
#include "base/check.h"

namespace mayfly {
namespace {

constexpr uint64_t kAvailOffset = 0x10000;
constexpr uint64_t kUsedOffset = 0x20000;
constexpr uint64_t kBufferOffset = 0x40000;
constexpr uint8_t kUnwritten = 0xaa;

}  // namespace

FakeQueue::FakeQueue(const GuestMemory* memory, GuestAddress base, uint16_t size)
    : memory_(memory), base_(base), size_(size) {
  CHECK(memory_->Fill(base_, 0, sizeof(FakeDescriptor) * uint64_t{size_}));
  CHECK(memory_->Fill(base_ + kAvailOffset, 0, 6 + 2 * uint64_t{size_}));
  CHECK(memory_->Fill(base_ + kUsedOffset, 0, 6 + 8 * uint64_t{size_}));
  for (uint16_t i = size; i > 0; --i) free_.push_back(static_cast<uint16_t>(i - 1));
}

VirtqueueState FakeQueue::StateAt(GuestAddress base, uint16_t size) {
  VirtqueueState state;
  state.size = size;
  state.descriptor_table = base.value;
  state.avail_ring = base.value + kAvailOffset;
  state.used_ring = base.value + kUsedOffset;
  return state;
}

FakeQueue::ChainBuilder& FakeQueue::ChainBuilder::Readable(std::span<const uint8_t> bytes) {
  const GuestAddress address = queue_->Allocate(bytes.size());
  CHECK(queue_->memory_->Write(address, bytes));
  return ReadableAt(address.value, static_cast<uint32_t>(bytes.size()));
}

FakeQueue::ChainBuilder& FakeQueue::ChainBuilder::Readable(std::initializer_list<uint8_t> bytes) {
  return Readable(std::span(bytes.begin(), bytes.size()));
}

FakeQueue::ChainBuilder& FakeQueue::ChainBuilder::Writable(uint32_t length) {
  const GuestAddress address = queue_->Allocate(length);
  CHECK(queue_->memory_->Fill(address, kUnwritten, length));
  return WritableAt(address.value, length);
}

FakeQueue::ChainBuilder& FakeQueue::ChainBuilder::ReadableAt(uint64_t address, uint32_t length) {
  descriptors_.push_back({address, length, 0, 0});
  return *this;
}

FakeQueue::ChainBuilder& FakeQueue::ChainBuilder::WritableAt(uint64_t address, uint32_t length) {
  descriptors_.push_back({address, length, kFakeWrite, 0});
  return *this;
}

uint16_t FakeQueue::ChainBuilder::Submit() {
  CHECK(!descriptors_.empty() && descriptors_.size() <= queue_->free_.size());
  std::vector<uint16_t> indices;
  for (size_t i = 0; i < descriptors_.size(); ++i) {
    indices.push_back(queue_->free_.back());
    queue_->free_.pop_back();
  }
  for (size_t i = 0; i < descriptors_.size(); ++i) {
    if (i + 1 < descriptors_.size()) {
      descriptors_[i].flags |= kFakeNext;
      descriptors_[i].next = indices[i + 1];
    }
    queue_->WriteDescriptor(indices[i], descriptors_[i]);
  }
  const uint16_t head = indices.front();
  queue_->indices_of_[head] = std::move(indices);
  queue_->descriptors_of_[head] = std::move(descriptors_);
  queue_->Publish(head);
  return head;
}

std::optional<FakeUsed> FakeQueue::PopUsed() {
  if (used_index() == last_used_) return std::nullopt;
  struct {
    uint32_t id;
    uint32_t length;
  } element{};
  const uint64_t slot = last_used_ % size_;
  CHECK(memory_->ReadValue(base_ + (kUsedOffset + 4 + 8 * slot), &element));
  ++last_used_;
  const auto head = static_cast<uint16_t>(element.id);
  const auto indices = indices_of_.find(head);
  if (indices != indices_of_.end()) {
    free_.insert(free_.end(), indices->second.rbegin(), indices->second.rend());
    indices_of_.erase(indices);
  }
  return FakeUsed{head, element.length};
}

std::vector<uint8_t> FakeQueue::Written(uint16_t head) const {
  std::vector<uint8_t> bytes;
  for (const FakeDescriptor& descriptor : descriptors_of_.at(head)) {
    if ((descriptor.flags & kFakeWrite) == 0 || descriptor.length == 0) continue;
    const size_t old_size = bytes.size();
    bytes.resize(old_size + descriptor.length);
    CHECK(memory_->Read(GuestAddress{descriptor.address}, std::span(bytes).subspan(old_size)));
  }
  return bytes;
}

bool FakeQueue::WantsKick(uint16_t old_index) const {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return static_cast<uint16_t>(avail_index_ - avail_event() - 1) <
         static_cast<uint16_t>(avail_index_ - old_index);
}

bool FakeQueue::MaySleep() {
  SetUsedEvent(last_used_);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return used_index() == last_used_;
}

void FakeQueue::WriteDescriptor(uint16_t index, const FakeDescriptor& descriptor) {
  CHECK(memory_->WriteValue(base_ + sizeof(FakeDescriptor) * uint64_t{index}, descriptor));
}

void FakeQueue::WriteAvailEntry(uint16_t slot, uint16_t head) {
  CHECK(memory_->WriteValue(base_ + (kAvailOffset + 4 + 2 * uint64_t{slot}), head));
}

void FakeQueue::SetAvailIndex(uint16_t index) {
  avail_index_ = index;
  CHECK(memory_->StoreRelease16(base_ + (kAvailOffset + 2), index));
}

void FakeQueue::Publish(uint16_t head) {
  WriteAvailEntry(static_cast<uint16_t>(avail_index_ % size_), head);
  SetAvailIndex(static_cast<uint16_t>(avail_index_ + 1));
}

void FakeQueue::SetAvailFlags(uint16_t flags) {
  CHECK(memory_->StoreRelease16(base_ + kAvailOffset, flags));
}

void FakeQueue::SetUsedEvent(uint16_t index) {
  CHECK(memory_->StoreRelease16(base_ + (kAvailOffset + 4 + 2 * uint64_t{size_}), index));
}

uint16_t FakeQueue::avail_event() const {
  uint16_t index = 0;
  CHECK(memory_->LoadAcquire16(base_ + (kUsedOffset + 4 + 8 * uint64_t{size_}), &index));
  return index;
}

uint16_t FakeQueue::used_index() const {
  uint16_t index = 0;
  CHECK(memory_->LoadAcquire16(base_ + (kUsedOffset + 2), &index));
  return index;
}

GuestAddress FakeQueue::Allocate(uint64_t length) {
  CHECK(length <= kBufferBytes);
  if (!RangeFits(next_buffer_, length, kBufferBytes)) next_buffer_ = 0;
  const GuestAddress address = base_ + (kBufferOffset + next_buffer_);
  next_buffer_ = AlignUp<uint64_t>(next_buffer_ + length, 16);
  return address;
}

}  // namespace mayfly
