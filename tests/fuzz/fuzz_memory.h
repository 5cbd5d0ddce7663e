#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "devices/virtio/virtqueue.h"
#include "vmm/memory/guest_memory.h"

namespace mayfly {

// The guest memory of a fuzz target, made once and used by all executions, because fresh memory
// would cost more than everything else. Only what a driver may name is accessible: the rings of its
// queues, and a window at the very end of RAM for buffers. The rest is poisoned for
// AddressSanitizer, which then reports a device that reads or writes where no descriptor points;
// inside the window, Check() finds what was written outside the writable buffers.
//
//   0               kQueueStride                         kWindow   kSize
//   [ rings, poison | rings, poison | rings, poison ...  [ buffers ]
class FuzzMemory {
 public:
  static constexpr uint64_t kSize = uint64_t{640} * 1024;
  // A FakeQueue without its buffers.
  static constexpr uint64_t kQueueStride = 0x22000;
  static constexpr size_t kMostQueues = 4;
  static constexpr uint64_t kWindowSize = uint64_t{32} * 1024;
  static constexpr uint64_t kWindow = kSize - kWindowSize;
  static_assert(kMostQueues * kQueueStride <= kWindow);

  FuzzMemory();
  FuzzMemory(const FuzzMemory&) = delete;
  FuzzMemory& operator=(const FuzzMemory&) = delete;

  // The one of this process.
  static FuzzMemory& Instance();

  // Before each execution: an empty window, nothing else accessible, nothing allowed.
  void Restart();
  // Where queue `index` has its rings. Makes them accessible, for a FakeQueue of this size.
  GuestAddress OpenRings(size_t index, uint16_t size);
  // The device may give pages to the host, which are zero then. After Restart().
  void ExpectDiscards() { discards_ = true; }
  // After the device has: where there were rings, all is open as if they were a buffer.
  void NoticeDiscards();
  // All of RAM is accessible, and Check() is silent: a buffer lies outside the window, perhaps over
  // the rings, and once the device has written there descriptors may say anything.
  [[nodiscard]] bool open() const { return open_; }

  // The driver writes into the window, up to its end.
  void Write(uint64_t offset, std::span<const uint8_t> bytes);
  // The driver has named this as a buffer that the device may read, or write.
  void NameBuffer(uint64_t address, uint64_t length, bool writable);
  // Aborts if a byte of the window has changed that the device was not allowed to write.
  void Check();

  [[nodiscard]] const GuestMemory* memory() const { return memory_.get(); }

 private:
  // Of the window: [begin, end).
  using Range = std::pair<uint64_t, uint64_t>;

  void OpenAll();
  // Of the window.
  [[nodiscard]] bool IsUnchanged(uint64_t begin, uint64_t end) const;
  void Touch(const Range& range);
  void SetAccessible(uint64_t address, uint64_t length, bool accessible) const;

  std::unique_ptr<GuestMemory> memory_;
  std::vector<uint8_t> expected_;  // The window as the driver has left it.
  std::vector<Range> allowed_;
  Range touched_{kWindowSize, 0};  // What Restart() has to clear.
  std::vector<Range> rings_;       // Of RAM.
  bool open_ = false;
  bool discards_ = false;
};

}  // namespace mayfly
