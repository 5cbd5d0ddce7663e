#pragma once

#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "devices/interrupt_line.h"
#include "devices/virtio/virtqueue.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// Descriptor flags (virtio 1.2, section 2.7.5).
inline constexpr uint16_t kFakeNext = 1;
inline constexpr uint16_t kFakeWrite = 2;
inline constexpr uint16_t kFakeIndirect = 4;

struct FakeDescriptor {
  uint64_t address;
  uint32_t length;
  uint16_t flags;
  uint16_t next;
};

struct FakeUsed {
  uint16_t head;
  uint32_t length;
  bool operator==(const FakeUsed&) const = default;
};

// The driver's end of one split virtqueue, in a real GuestMemory. Well behaved through Chain();
// whatever a test likes through the raw methods below. One thread.
//
//   base + 0       descriptor table
//        + 0x10000 avail ring
//        + 0x20000 used ring
//        + 0x40000 buffers, kBufferBytes, reused from the start when the end is reached
class FakeQueue {
 public:
  static constexpr uint64_t kBufferBytes = 0xc0000;
  static constexpr uint64_t kBytes = 0x100000;

  // `memory` (borrowed) has kBytes from `base`.
  FakeQueue(const GuestMemory* memory, GuestAddress base, uint16_t size);

  // Where the queue is, as a device is told; for Virtqueue::Create() without a transport.
  [[nodiscard]] VirtqueueState state() const { return StateAt(base_, size_); }
  static VirtqueueState StateAt(GuestAddress base, uint16_t size);
  [[nodiscard]] uint16_t size() const { return size_; }

  // Builds one chain: descriptors in the order of the calls, then Submit().
  class ChainBuilder {
   public:
    // A buffer with these bytes, or with `length` zero bytes.
    ChainBuilder& Readable(std::span<const uint8_t> bytes);
    ChainBuilder& Readable(std::initializer_list<uint8_t> bytes);
    template <class T>
      requires(std::is_trivially_copyable_v<T> && std::is_class_v<T> &&
               !std::is_convertible_v<T, std::span<const uint8_t>>)
    ChainBuilder& Readable(const T& value) {
      return Readable(BytesOf(value));
    }
    // A buffer of `length` bytes, filled with 0xaa so that what the device wrote can be told.
    ChainBuilder& Writable(uint32_t length);
    // Any address and length, right or wrong.
    ChainBuilder& ReadableAt(uint64_t address, uint32_t length);
    ChainBuilder& WritableAt(uint64_t address, uint32_t length);

    // Puts the chain into the avail ring and moves its index. Returns the head.
    uint16_t Submit();

   private:
    friend class FakeQueue;
    explicit ChainBuilder(FakeQueue* queue) : queue_(queue) {}
    FakeQueue* queue_;
    std::vector<FakeDescriptor> descriptors_;
  };
  ChainBuilder Chain() { return ChainBuilder(this); }

  // The next element of the used ring, if there is one; its descriptors become free.
  std::optional<FakeUsed> PopUsed();
  // What is now in the writable buffers of the chain that was last submitted with this head.
  [[nodiscard]] std::vector<uint8_t> Written(uint16_t head) const;

  // EVENT_IDX (2.7.10): whether the device wants a kick for what was submitted since the avail
  // index was `old_index`.
  [[nodiscard]] bool WantsKick(uint16_t old_index) const;
  // EVENT_IDX: asks for an interrupt with the next used element. False if it is there already.
  [[nodiscard]] bool MaySleep();

  // Raw accesses, for what no driver would do.
  void WriteDescriptor(uint16_t index, const FakeDescriptor& descriptor);
  void WriteAvailEntry(uint16_t slot, uint16_t head);
  void SetAvailIndex(uint16_t index);
  // One avail ring entry for `head`, and the index moved by one.
  void Publish(uint16_t head);
  void SetAvailFlags(uint16_t flags);
  // EVENT_IDX: the used index after which the driver wants an interrupt.
  void SetUsedEvent(uint16_t index);
  [[nodiscard]] uint16_t avail_index() const { return avail_index_; }
  [[nodiscard]] uint16_t avail_event() const;
  [[nodiscard]] uint16_t used_index() const;
  // `length` bytes of buffer space.
  GuestAddress Allocate(uint64_t length);

 private:
  const GuestMemory* memory_;
  GuestAddress base_;
  uint16_t size_;
  uint16_t avail_index_ = 0;
  uint16_t last_used_ = 0;
  uint64_t next_buffer_ = 0;
  std::vector<uint16_t> free_;  // Taken from the back.
  std::map<uint16_t, std::vector<uint16_t>> indices_of_;
  std::map<uint16_t, std::vector<FakeDescriptor>> descriptors_of_;
};

// Counts what a queue tells its transport.
class FakeQueueEvents final : public QueueEvents {
 public:
  void UsedBuffers() override { ++used_buffers; }
  void NeedsReset() override { ++needs_reset; }
  void ProcessLater() override { ++process_later; }

  std::atomic<int> used_buffers{0};
  std::atomic<int> needs_reset{0};
  std::atomic<int> process_later{0};
};

class FakeInterruptLine final : public InterruptLine {
 public:
  void Raise() override { ++raised; }

  std::atomic<int> raised{0};
};

}  // namespace mayfly
