#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/result.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// What a queue tells its transport. Any thread.
class QueueEvents {
 public:
  virtual ~QueueEvents() = default;
  // The driver wants to know that buffers were used (InterruptStatus bit 0).
  virtual void UsedBuffers() = 0;
  // The driver broke the queue: DEVICE_NEEDS_RESET (2.1.2).
  virtual void NeedsReset() = 0;
  // The device gave up its turn with requests left: call ProcessQueue() again, from the loop's
  // thread. Without a transport (in tests) nobody does.
  virtual void ProcessLater() {}
};

// One guest buffer of a chain: a copy of the descriptor's address and length, already known to be
// wholly in RAM.
struct GuestBuffer {
  GuestAddress address;
  uint32_t length;
};

// The copied descriptors of one request: first what the device reads, then what it writes, as the
// specification orders them (2.7.4.2). Move-only. Goes back with Virtqueue::Complete().
class DescriptorChain {
 public:
  DescriptorChain(DescriptorChain&&) noexcept = default;
  DescriptorChain& operator=(DescriptorChain&&) noexcept = default;
  DescriptorChain(const DescriptorChain&) = delete;
  DescriptorChain& operator=(const DescriptorChain&) = delete;

  [[nodiscard]] uint16_t head() const { return head_; }
  [[nodiscard]] std::span<const GuestBuffer> readable() const {
    return std::span(buffers_).first(readable_count_);
  }
  [[nodiscard]] std::span<const GuestBuffer> writable() const {
    return std::span(buffers_).subspan(readable_count_);
  }
  // Sums of the lengths; together below 2^32 (2.7.5.2).
  [[nodiscard]] uint32_t readable_size() const { return readable_size_; }
  [[nodiscard]] uint32_t writable_size() const { return writable_size_; }

  // Copies across buffer boundaries, whatever the framing (2.7.4.1): up to out.size() bytes of the
  // readable part from `offset`, or bytes.size() bytes into the writable part at `offset`. Returns
  // how many bytes were there to copy; fewer if GuestMemory has lost a page.
  size_t CopyFrom(const GuestMemory& memory, size_t offset, std::span<uint8_t> out) const;
  size_t CopyTo(const GuestMemory& memory, size_t offset, std::span<const uint8_t> bytes) const;

  // iovecs of [offset, offset + length) of the readable or writable part, for system calls; cut
  // where the part ends.
  [[nodiscard]] std::vector<iovec> ReadableIovecs(const GuestMemory& memory, size_t offset,
                                                  size_t length) const;
  [[nodiscard]] std::vector<iovec> WritableIovecs(const GuestMemory& memory, size_t offset,
                                                  size_t length) const;

 private:
  friend class Virtqueue;
  DescriptorChain() = default;

  uint16_t head_ = 0;
  uint32_t readable_size_ = 0;
  uint32_t writable_size_ = 0;
  size_t readable_count_ = 0;
  std::vector<GuestBuffer> buffers_;  // In the chain's order: all readable ones first.
};

// A chain to be returned, with so many bytes in its writable part.
struct UsedChain {
  DescriptorChain chain;
  uint32_t written;
};

// Where the driver put a queue, and how far it has come. Plain values, untrusted: from the
// transport's registers or from a snapshot.
struct VirtqueueState {
  uint16_t size = 0;  // 0: the driver does not use this queue.
  uint64_t descriptor_table = 0;
  uint64_t avail_ring = 0;
  uint64_t used_ring = 0;
  uint16_t next_avail = 0;
  uint16_t next_used = 0;
  // The used index at the last Notify(); where it is not valid, the next Notify() tells the driver
  // in any case.
  uint16_t signalled_used = 0;
  bool signalled_used_valid = true;

  bool operator==(const VirtqueueState&) const = default;
};

// What Virtqueue::Pop() does about an empty queue.
enum class WhenEmpty {
  kAskForKick,  // The driver kicks for the next chain.
  kStayQuiet,   // It need not: the device looks again by itself, when something else is done.
};

// The device's end of a split virtqueue (virtio 1.2, section 2.7). No indirect descriptors. Not
// synchronised: it belongs to its device, which calls it under its own mutex. `memory` and `events`
// must outlive it. If GuestMemory has lost a page of its rings, which ends the machine, it is
// broken.
class Virtqueue {
 public:
  // Fails if the size is not a power of two up to `max_size`, an address is not aligned (16, 2, 4),
  // or a ring is not wholly in RAM. An unused queue (size 0) is built too, and never has a chain.
  static Result<Virtqueue> Create(const VirtqueueState& state, uint16_t max_size, bool event_index,
                                  const GuestMemory* memory, QueueEvents* events);
  Virtqueue(Virtqueue&&) noexcept = default;
  Virtqueue& operator=(Virtqueue&&) noexcept = default;
  Virtqueue(const Virtqueue&) = delete;
  Virtqueue& operator=(const Virtqueue&) = delete;

  // The next request, or nothing if there is none; then the driver has been asked to kick for the
  // next one, unless told otherwise. A chain or an index that breaks the specification breaks the
  // queue: NeedsReset() is called once, and no chain comes out of it any more.
  std::optional<DescriptorChain> Pop(WhenEmpty when_empty = WhenEmpty::kAskForKick);

  // Puts the newest chain that Pop() gave back, as if it had not been taken. Only for the last one,
  // and only before the next Pop().
  void UndoPop(DescriptorChain chain);

  // Returns a chain to the driver with `written` bytes in its writable part. The driver is not told
  // before Notify().
  void Complete(DescriptorChain chain, uint32_t written);
  // The same for several that the driver must find all together, or not yet.
  void CompleteTogether(std::span<const UsedChain> chains);

  // Tells the driver of what was completed, if it asked to be told (2.7.7).
  void Notify();

  // For a device that has done enough for one turn (its bound on work) with chains left: it returns
  // from ProcessQueue(), and is called again once others had theirs.
  void ProcessLater() { events_->ProcessLater(); }

  // Marks the queue broken, as Pop() does: for a request that the device cannot answer at all.
  void Break();

  [[nodiscard]] bool broken() const { return broken_; }
  [[nodiscard]] const GuestMemory& memory() const { return *memory_; }
  [[nodiscard]] VirtqueueState Save() const { return state_; }

 private:
  Virtqueue(const VirtqueueState& state, bool event_index, const GuestMemory* memory,
            QueueEvents* events)
      : state_(state), event_index_(event_index), memory_(memory), events_(events) {}

  // Writes the next element of the used ring, which the driver does not see before the index.
  void AddUsed(const DescriptorChain& chain, uint32_t written);
  void PublishUsed();

  // The driver's index, as a number of chains that wait. Breaks the queue if that cannot be.
  uint16_t CountAvailable();
  std::optional<DescriptorChain> ReadChain(uint16_t head) const;

  VirtqueueState state_;
  bool event_index_;
  bool broken_ = false;
  const GuestMemory* memory_;
  QueueEvents* events_;
};

}  // namespace mayfly
