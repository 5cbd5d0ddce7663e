#pragma once

#include <sys/uio.h>

#include <array>
#include <atomic>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/bytes.h"
#include "base/mapping.h"
#include "base/mutex.h"
#include "base/result.h"
#include "vmm/memory/page_scan.h"

namespace mayfly {

// A guest-physical address: a type of its own, so that it is never mixed up with a host address or
// a length.
struct GuestAddress {
  uint64_t value = 0;
  auto operator<=>(const GuestAddress&) const = default;
};

inline GuestAddress operator+(GuestAddress address, uint64_t offset) {
  return GuestAddress{address.value + offset};
}

// One contiguous range of guest RAM, and where the process has it.
struct MemoryRegion {
  GuestAddress start;
  uint64_t size;
  uint8_t* host;  // Borrowed from GuestMemory; for KVM_SET_USER_MEMORY_REGION and nothing else.
};

// The guest's RAM, and the only code that touches it. Every access is checked against the regions,
// and guest bytes are handed out as copies. A range that does not lie wholly inside one region is
// refused. All accesses may come from any thread; the guest itself may write at the same time, so
// what was read once must not be read again and expected to be the same. A page whose contents
// cannot be had any more (its file was shortened, its pager is gone) is refused too, and reported.
//
//   0 ............ 3 GiB          4 GiB ............ 4 GiB + (size - 3 GiB)
//   [ region 0 ]   [ MMIO hole ]  [ region 1, if size > 3 GiB ]
class GuestMemory {
 public:
  static constexpr uint64_t kHoleStart = 3ULL << 30;
  static constexpr uint64_t kHoleEnd = 4ULL << 30;
  static constexpr uint64_t kPageSize = 4096;

  // Zero-filled memory of `size` bytes, a multiple of the page size.
  static Result<std::unique_ptr<GuestMemory>> Create(uint64_t size);
  // The same with the contents of `fd`, of `size` bytes: the regions one after the other. Pages
  // come from the file when they are first touched, and are the guest's own from its first write
  // on. Whoever gives the file sees to it that nobody shortens or changes it.
  static Result<std::unique_ptr<GuestMemory>> MapPrivate(uint64_t size, int fd);
  // Puts such contents in the place of what there is, at the same addresses: what KVM or a thread
  // knows of this memory stays right. While nobody uses it; `fd` is as long as the memory.
  Result<void> MapOver(int fd);
  GuestMemory(const GuestMemory&) = delete;
  GuestMemory& operator=(const GuestMemory&) = delete;

  [[nodiscard]] uint64_t size() const { return size_; }
  [[nodiscard]] std::span<const MemoryRegion> regions() const { return regions_; }

  // True if [address, address + length) is RAM, in one region. A length of 0 is in RAM where its
  // address is, or at a region's end.
  [[nodiscard]] bool Contains(GuestAddress address, uint64_t length) const {
    return Translate(address, length) != nullptr;
  }

  // Has `lost` called, on whatever thread, whenever an access of ours finds a page that cannot be
  // had. Before anybody but the caller accesses the memory.
  void OnLost(std::function<void(GuestAddress)> lost) { on_lost_ = std::move(lost); }

  // Copies between guest and host. Nothing is copied unless the whole range is RAM; false if not,
  // and if a page of it cannot be had.
  [[nodiscard]] bool Read(GuestAddress address, std::span<uint8_t> out) const;
  [[nodiscard]] bool Write(GuestAddress address, std::span<const uint8_t> bytes) const;
  [[nodiscard]] bool Fill(GuestAddress address, uint8_t value, uint64_t length) const;

  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool ReadValue(GuestAddress address, T* out) const {
    return Read(address, MutableBytesOf(*out));
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  [[nodiscard]] bool WriteValue(GuestAddress address, const T& value) const {
    return Write(address, BytesOf(value));
  }

  // Single 16-bit accesses with acquire and release order, for ring indices: never torn. False if
  // the address is outside RAM or odd.
  [[nodiscard]] bool LoadAcquire16(GuestAddress address, uint16_t* out) const;
  [[nodiscard]] bool StoreRelease16(GuestAddress address, uint16_t value) const;

  // Gives the whole pages inside the range back to the host: they read as zeros from now on, and
  // take memory again when they are touched. Where huge pages back the memory, the host keeps a
  // huge page until all of it is given back or memory runs short. kInvalidArgument, and nothing is
  // done, unless the whole range is RAM. Any thread.
  Result<void> Discard(GuestAddress address, uint64_t length) const;

  // Such memory would not come back as zeros where something else fills it when it is touched: a
  // file, or a pager. From this call on Discard() puts new memory in its place instead. Before the
  // guest runs.
  void SetFilledOnTouch() { filled_on_touch_ = true; }

  // Maps [offset, offset + length) of `fd`, whole pages, privately over that part of the memory,
  // which MapPrivate() made. Before the guest runs.
  Result<void> MapOver(GuestAddress address, uint64_t length, int fd, uint64_t offset);

  // The pages of a region that may be anything but zero, in order: those that were ever touched, or
  // all of them where something else fills the memory.
  [[nodiscard]] Result<std::vector<PageRange>> PopulatedRanges(const MemoryRegion& region) const;
  // The pages of a region that may be anything but what fills the memory, in order; where nothing
  // fills it, all of them.
  [[nodiscard]] Result<std::vector<PageRange>> ChangedRanges(const MemoryRegion& region) const;
  // True if the range is RAM, and all of it there and zero.
  [[nodiscard]] bool IsZero(GuestAddress address, uint64_t length) const;

  // Has the host make the pages of the range present before anybody touches them, as for reading
  // or as for writing. False if it cannot, which costs time and nothing else.
  bool Populate(GuestAddress address, uint64_t length, bool for_writing) const;

  // A view of guest memory for a system call that copies (readv, writev, preadv, io_uring), valid
  // as long as this object. Nothing may be read through it by our own code. Nothing is returned
  // unless the whole range is RAM: the base is null then.
  [[nodiscard]] iovec Iovec(GuestAddress address, uint64_t length) const;

 private:
  GuestMemory() = default;
  using MapRegion = std::function<Result<Mapping>(uint64_t offset, uint64_t length)>;
  static Result<std::unique_ptr<GuestMemory>> CreateFrom(uint64_t size, const MapRegion& map);
  // False, once it is reported that a page of what starts at `address` is not there.
  [[nodiscard]] bool Lose(GuestAddress address) const;
  // The host address of the range, or null if it is not wholly in one region.
  [[nodiscard]] uint8_t* Translate(GuestAddress address, uint64_t length) const;

  // Each discarded range can split a mapping, and a process has 65,530 of them at most: a guest
  // that discards every other page gets zeros written over the rest, and the host no memory back.
  static constexpr uint32_t kMostReplacements = 8192;
  Result<void> Replace(uint8_t* host, uint64_t length) const;
  // Zeros in place of [host, host + length).
  static Result<void> MapZeros(uint8_t* host, uint64_t length);

  uint64_t size_ = 0;
  bool filled_on_touch_ = false;
  std::function<void(GuestAddress)> on_lost_;
  // What Discard() replaced, in addresses of the process: kMostReplacements at most.
  mutable Mutex mutex_;
  mutable std::vector<PageRange> replaced_ GUARDED_BY(mutex_);
  std::vector<Mapping> mappings_;
  std::vector<MemoryRegion> regions_;
};

}  // namespace mayfly
