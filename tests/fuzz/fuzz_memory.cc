#include "tests/fuzz/fuzz_memory.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <cstring>

#include "base/arithmetic.h"
#include "base/bytes.h"
#include "base/check.h"
#include "tests/fakes/fake_queue.h"

namespace mayfly {
namespace {

// At the end of each page that has rings, to tell whether it was discarded.
constexpr uint64_t kMark = 0x6b72616d'6b72616d;

uint64_t MarkOf(uint64_t ring) {
  constexpr uint64_t kPage = 4096;
  return AlignDown(ring, kPage) + kPage - sizeof(kMark);
}

}  // namespace

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
  discards_ = false;
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
    if (!discards_) continue;
    const Range mark{MarkOf(ring.first), sizeof(kMark)};
    SetAccessible(mark.first, mark.second, true);
    rings_.push_back(mark);
    CHECK(memory_->Write(GuestAddress{mark.first}, BytesOf(kMark)));
  }
  return base;
}

void FuzzMemory::NoticeDiscards() {
  if (!discards_ || open_) return;
  const auto was_discarded = [this](const Range& ring) {
    uint64_t mark = 0;
    CHECK(memory_->ReadValue(GuestAddress{MarkOf(ring.first)}, &mark));
    return mark != kMark;
  };
  if (std::ranges::any_of(rings_, was_discarded)) OpenAll();
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
  uint64_t next = 0;
  for (const auto& [begin, end] : allowed_) {
    CHECK(IsUnchanged(next, begin));
    next = std::max(next, end);
  }
  CHECK(IsUnchanged(next, kWindowSize));
}

bool FuzzMemory::IsUnchanged(uint64_t begin, uint64_t end) const {
  constexpr uint64_t kPart = 256;
  const uint8_t* const window =
      static_cast<uint8_t*>(memory_->Iovec(GuestAddress{kWindow}, kWindowSize).iov_base);
  const auto same = [&](uint64_t from, uint64_t to) {
    return std::memcmp(window + from, &expected_[from], to - from) == 0;
  };
  if (begin >= end || same(begin, end)) return true;
  if (!discards_) return false;
  // Byte by byte, because the driver may have written to a page after it was discarded.
  const auto may_be = [](uint8_t now, uint8_t before) { return now == before || now == 0; };
  for (uint64_t at = begin; at < end; at += kPart) {
    const uint64_t until = std::min(at + kPart, end);
    if (same(at, until)) continue;
    if (!std::equal(window + at, window + until, &expected_[at], may_be)) return false;
  }
  return true;
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
    return;
  }
  ASAN_POISON_MEMORY_REGION(start, length);
}

}  // namespace mayfly
