#include "devices/virtio/virtqueue.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <string>

#include "base/arithmetic.h"
#include "base/check.h"

namespace mayfly {
namespace {

// Where things are in the rings (virtio 1.2, sections 2.7.5, 2.7.6 and 2.7.8).
struct Descriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};
static_assert(sizeof(Descriptor) == 16);

struct UsedElement {
  uint32_t id;
  uint32_t length;
};
static_assert(sizeof(UsedElement) == 8);

constexpr uint16_t kDescriptorNext = 1;
constexpr uint16_t kDescriptorWrite = 2;
constexpr uint16_t kDescriptorIndirect = 4;
constexpr uint16_t kAvailNoInterrupt = 1;

constexpr uint64_t kRingFlags = 0;
constexpr uint64_t kRingIndex = 2;
constexpr uint64_t kRingEntries = 4;

constexpr uint64_t kDescriptorAlignment = 16;
constexpr uint64_t kAvailAlignment = 2;
constexpr uint64_t kUsedAlignment = 4;

// Both rings end with the 16-bit event index of EVENT_IDX.
constexpr uint64_t AvailEnd(uint16_t size) { return kRingEntries + 2ULL * size; }
constexpr uint64_t UsedEnd(uint16_t size) { return kRingEntries + sizeof(UsedElement) * size; }

Result<void> CheckPlace(const GuestMemory& memory, std::string_view what, uint64_t address,
                        uint64_t length, uint64_t alignment) {
  if (!IsAligned(address, alignment)) {
    return Fail(ErrorCode::kCorrupt, "virtqueue: " + std::string(what) + " at " +
                                         std::to_string(address) + " is not aligned to " +
                                         std::to_string(alignment));
  }
  if (!memory.Contains(GuestAddress{address}, length)) {
    return Fail(ErrorCode::kCorrupt, "virtqueue: " + std::string(what) + " at " +
                                         std::to_string(address) + " is not in guest memory");
  }
  return {};
}

// Calls `part(buffer's address, length)` for the pieces of [offset, offset + length) and returns
// their sum, which is less than `length` where the buffers end, or where `part` returns false.
template <class Function>
size_t ForEachPart(std::span<const GuestBuffer> buffers, size_t offset, size_t length,
                   Function part) {
  size_t done = 0;
  for (const GuestBuffer& buffer : buffers) {
    if (done == length) break;
    if (offset >= buffer.length) {
      offset -= buffer.length;
      continue;
    }
    const size_t count = std::min(buffer.length - offset, length - done);
    if (!part(buffer.address + offset, count)) break;
    done += count;
    offset = 0;
  }
  return done;
}

std::vector<iovec> Iovecs(const GuestMemory& memory, std::span<const GuestBuffer> buffers,
                          size_t offset, size_t length) {
  std::vector<iovec> iovecs;
  iovecs.reserve(buffers.size());
  ForEachPart(buffers, offset, length, [&](GuestAddress address, size_t count) {
    iovecs.push_back(memory.Iovec(address, count));
    return true;
  });
  return iovecs;
}

}  // namespace

size_t DescriptorChain::CopyFrom(const GuestMemory& memory, size_t offset,
                                 std::span<uint8_t> out) const {
  return ForEachPart(readable(), offset, out.size(), [&](GuestAddress address, size_t count) {
    if (!memory.Read(address, out.first(count))) return false;
    out = out.subspan(count);
    return true;
  });
}

size_t DescriptorChain::CopyTo(const GuestMemory& memory, size_t offset,
                               std::span<const uint8_t> bytes) const {
  return ForEachPart(writable(), offset, bytes.size(), [&](GuestAddress address, size_t count) {
    if (!memory.Write(address, bytes.first(count))) return false;
    bytes = bytes.subspan(count);
    return true;
  });
}

std::vector<iovec> DescriptorChain::ReadableIovecs(const GuestMemory& memory, size_t offset,
                                                   size_t length) const {
  return Iovecs(memory, readable(), offset, length);
}

std::vector<iovec> DescriptorChain::WritableIovecs(const GuestMemory& memory, size_t offset,
                                                   size_t length) const {
  return Iovecs(memory, writable(), offset, length);
}

Result<Virtqueue> Virtqueue::Create(const VirtqueueState& state, uint16_t max_size,
                                    bool event_index, const GuestMemory* memory,
                                    QueueEvents* events) {
  if (state.size != 0) {
    if (state.size > max_size || !std::has_single_bit(state.size)) {
      return Fail(ErrorCode::kCorrupt, "virtqueue: size " + std::to_string(state.size) +
                                           " is no power of two up to " + std::to_string(max_size));
    }
    TRY(CheckPlace(*memory, "descriptor table", state.descriptor_table,
                   sizeof(Descriptor) * state.size, kDescriptorAlignment));
    TRY(CheckPlace(*memory, "avail ring", state.avail_ring, AvailEnd(state.size) + 2,
                   kAvailAlignment));
    TRY(CheckPlace(*memory, "used ring", state.used_ring, UsedEnd(state.size) + 2, kUsedAlignment));
  }
  return Virtqueue(state, event_index, memory, events);
}

std::optional<DescriptorChain> Virtqueue::Pop(WhenEmpty when_empty) {
  if (broken_ || state_.size == 0) return std::nullopt;
  if (CountAvailable() == 0) {
    if (broken_ || !event_index_ || when_empty == WhenEmpty::kStayQuiet) return std::nullopt;
    // Ask to be kicked for the next chain, then look once more (2.7.10): the fence makes sure that
    // either we see a chain that was added meanwhile, or its driver sees our wish.
    if (!memory_->StoreRelease16(GuestAddress{state_.used_ring} + UsedEnd(state_.size),
                                 state_.next_avail)) {
      Break();
      return std::nullopt;
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (CountAvailable() == 0) return std::nullopt;
  }
  const uint64_t slot = state_.next_avail % state_.size;
  uint16_t head = 0;
  std::optional<DescriptorChain> chain;
  if (memory_->ReadValue(GuestAddress{state_.avail_ring} + (kRingEntries + 2 * slot), &head)) {
    chain = ReadChain(head);
  }
  if (!chain) {
    Break();
    return std::nullopt;
  }
  ++state_.next_avail;
  return chain;
}

uint16_t Virtqueue::CountAvailable() {
  uint16_t index = 0;
  const bool there = memory_->LoadAcquire16(GuestAddress{state_.avail_ring} + kRingIndex, &index);
  const auto count = static_cast<uint16_t>(index - state_.next_avail);
  if (there && count <= state_.size) return count;
  // More chains than descriptors, or an index that went backwards.
  Break();
  return 0;
}

// Every descriptor is copied once and checked in its copy: the guest may rewrite it at any time.
// Nothing of a chain is used unless all of it is right.
std::optional<DescriptorChain> Virtqueue::ReadChain(uint16_t head) const {
  DescriptorChain chain;
  chain.head_ = head;
  chain.buffers_.reserve(4);  // Most requests: one allocation.
  uint16_t index = head;
  uint64_t total = 0;
  bool in_writable_part = false;
  // The table has no more descriptors than this, so a longer chain has a loop in it.
  for (uint16_t i = 0; i < state_.size; ++i) {
    if (index >= state_.size) return std::nullopt;
    Descriptor descriptor{};
    if (!memory_->ReadValue(
            GuestAddress{state_.descriptor_table} + sizeof(Descriptor) * uint64_t{index},
            &descriptor)) {
      return std::nullopt;
    }
    const GuestBuffer buffer{GuestAddress{descriptor.address}, descriptor.length};
    const bool writable = (descriptor.flags & kDescriptorWrite) != 0;
    total += buffer.length;  // At most 2^16 times 2^32.
    if ((descriptor.flags & kDescriptorIndirect) != 0 || (in_writable_part && !writable) ||
        total > UINT32_MAX || !memory_->Contains(buffer.address, buffer.length)) {
      return std::nullopt;
    }
    in_writable_part = writable;
    chain.buffers_.push_back(buffer);
    if (writable) {
      chain.writable_size_ += buffer.length;
    } else {
      ++chain.readable_count_;
      chain.readable_size_ += buffer.length;
    }
    if ((descriptor.flags & kDescriptorNext) == 0) return chain;
    index = descriptor.next;
  }
  return std::nullopt;
}

void Virtqueue::UndoPop([[maybe_unused]] DescriptorChain chain) { --state_.next_avail; }

void Virtqueue::Complete(DescriptorChain chain, uint32_t written) {
  AddUsed(chain, written);
  PublishUsed();
}

void Virtqueue::CompleteTogether(std::span<const UsedChain> chains) {
  for (const auto& [chain, written] : chains) AddUsed(chain, written);
  PublishUsed();
}

void Virtqueue::AddUsed(const DescriptorChain& chain, uint32_t written) {
  CHECK(written <= chain.writable_size());
  if (broken_) return;
  const uint64_t slot = state_.next_used % state_.size;
  const UsedElement element{chain.head(), written};
  if (!memory_->WriteValue(
          GuestAddress{state_.used_ring} + (kRingEntries + sizeof(UsedElement) * slot), element)) {
    Break();
    return;
  }
  ++state_.next_used;
  // Once around the whole index without a Notify(): it can no longer tell old from new.
  if (state_.next_used == state_.signalled_used) state_.signalled_used_valid = false;
}

void Virtqueue::PublishUsed() {
  if (broken_) return;
  if (!memory_->StoreRelease16(GuestAddress{state_.used_ring} + kRingIndex, state_.next_used)) {
    Break();
  }
}

void Virtqueue::Notify() {
  const uint16_t old_used = state_.signalled_used;
  const bool old_valid = state_.signalled_used_valid;
  const uint16_t new_used = state_.next_used;
  if (broken_ || state_.size == 0 || (old_valid && old_used == new_used)) return;
  state_.signalled_used = new_used;
  state_.signalled_used_valid = true;
  // The driver stores its wish and then looks at the used index; we store the used index and then
  // look at its wish. Without the fence both could miss (2.7.7.2).
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!event_index_) {
    uint16_t flags = 0;
    if (!memory_->LoadAcquire16(GuestAddress{state_.avail_ring} + kRingFlags, &flags)) {
      Break();
      return;
    }
    if ((flags & kAvailNoInterrupt) == 0) events_->UsedBuffers();
    return;
  }
  uint16_t used_event = 0;
  if (!memory_->LoadAcquire16(GuestAddress{state_.avail_ring} + AvailEnd(state_.size),
                              &used_event)) {
    Break();
    return;
  }
  // True if used_event is among the elements added since the last time, modulo 2^16 (2.7.7.2).
  const bool passed =
      static_cast<uint16_t>(new_used - used_event - 1) < static_cast<uint16_t>(new_used - old_used);
  if (!old_valid || passed) events_->UsedBuffers();
}

void Virtqueue::Break() {
  if (broken_) return;
  broken_ = true;
  events_->NeedsReset();
}

}  // namespace mayfly
