#include "tests/fuzz/fuzz_memory.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "tests/fakes/fake_queue.h"

namespace mayfly {

FuzzMemory::FuzzMemory() : memory_(*GuestMemory::Create(kSize)), expected_(kWindowSize) {
  SetAccessible(0, kWindow, false);
}

FuzzMemory& FuzzMemory::Instance() {
  static FuzzMemory memory;
  return memory;
}

void FuzzMemory::Restart() {
  if (open_) {
    CHECK(memory_->Fill(GuestAddress{0}, 0, kSize));
    std::ranges::fill(expected_, uint8_t{0});
    SetAccessible(0, kWindow, false);
    open_ = false;
  } else {
    if (touched_.first < touched_.second) {
      const uint64_t length = touched_.second - touched_.first;
      CHECK(memory_->Fill(GuestAddress{kWindow + touched_.first}, 0, length));
      std::memset(&expected_[touched_.first], 0, length);
    }
    for (const auto& [address, length] : rings_) SetAccessible(address, length, false);
  }
  touched_ = {kWindowSize, 0};
  allowed_.clear();
  rings_.clear();
}

GuestAddress FuzzMemory::OpenRings(size_t index, uint16_t size) {
  CHECK(index < kMostQueues);
  const GuestAddress base{index * kQueueStride};
  const VirtqueueState queue = FakeQueue::StateAt(base, size);
  for (const Range& ring :
       {Range{queue.descriptor_table, 16ULL * size}, Range{queue.avail_ring, 6 + 2ULL * size},
        Range{queue.used_ring, 6 + 8ULL * size}}) {
    SetAccessible(ring.first, ring.second, true);
    rings_.push_back(ring);
  }
  return base;
}

void FuzzMemory::Write(uint64_t offset, std::span<const uint8_t> bytes) {
  if (offset >= kWindowSize || bytes.empty()) return;
  const auto part = bytes.first(std::min<uint64_t>(bytes.size(), kWindowSize - offset));
  CHECK(memory_->Write(GuestAddress{kWindow + offset}, part));
  std::memcpy(&expected_[offset], part.data(), part.size());
  Touch({offset, offset + part.size()});
}

void FuzzMemory::NameBuffer(uint64_t address, uint64_t length, bool writable) {
  // A buffer that is not wholly in RAM is not touched at all.
  if (length == 0 || !memory_->Contains(GuestAddress{address}, length)) return;
  if (address < kWindow) return OpenAll();
  if (!writable) return;
  const uint64_t offset = address - kWindow;
  allowed_.emplace_back(offset, offset + length);
  Touch(allowed_.back());
}

void FuzzMemory::Check() {
  if (open_) return;
  std::ranges::sort(allowed_);
  const uint8_t* const window =
      static_cast<uint8_t*>(memory_->Iovec(GuestAddress{kWindow}, kWindowSize).iov_base);
  const auto is_unchanged = [&](uint64_t begin, uint64_t end) {
    return begin >= end || std::memcmp(window + begin, &expected_[begin], end - begin) == 0;
  };
  uint64_t next = 0;
  for (const auto& [begin, end] : allowed_) {
    CHECK(is_unchanged(next, begin));
    next = std::max(next, end);
  }
  CHECK(is_unchanged(next, kWindowSize));
}

void FuzzMemory::OpenAll() {
  if (open_) return;
  open_ = true;
  SetAccessible(0, kWindow, true);
}

void FuzzMemory::Touch(const Range& range) {
  touched_.first = std::min(touched_.first, range.first);
  touched_.second = std::max(touched_.second, range.second);
}

void FuzzMemory::SetAccessible(uint64_t address, uint64_t length, bool accessible) const {
  // Called for ranges of one region only.
  const void* const start = memory_->regions().front().host + address;
  if (accessible) {
    ASAN_UNPOISON_MEMORY_REGION(start, length);
  } else {
    ASAN_POISON_MEMORY_REGION(start, length);
  }
}

}  // namespace mayfly
