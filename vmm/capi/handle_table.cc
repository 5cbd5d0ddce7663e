#include "vmm/capi/handle_table.h"

#include <sys/mman.h>

#include <utility>

#include "base/pointer.h"

namespace mayfly::capi {
namespace {

constexpr uint64_t kCalls = 0x7fff'ffff;
constexpr uint64_t kClosed = 1ULL << 31;
constexpr unsigned kKindShift = 32;
constexpr unsigned kGenerationShift = 48;
constexpr uint64_t kAddress = (1ULL << kGenerationShift) - 1;

uint64_t GenerationOf(uint64_t word) { return word >> kGenerationShift; }
Kind KindOf(uint64_t word) { return static_cast<Kind>(word >> kKindShift & 0xff); }

HandleCell* CellOf(const void* handle) {
  const uint64_t address = reinterpret_cast<uint64_t>(handle) & kAddress;
  if (address % alignof(HandleCell) != 0) return nullptr;
  return PointerOf<HandleCell>(address);
}

// The cell's word, if the handle is open.
bool IsOpen(uint64_t word, const void* handle, Kind kind) {
  const Kind actual = KindOf(word);
  return GenerationOf(word) == reinterpret_cast<uint64_t>(handle) >> kGenerationShift &&
         (word & kClosed) == 0 && actual != Kind::kAny && (kind == Kind::kAny || kind == actual);
}

// Replaces the word of an open handle by `next(word)`; false if it is not open.
template <class Next>
bool Change(const void* handle, Kind kind, Next next) {
  HandleCell* const cell = CellOf(handle);
  if (cell == nullptr) return false;
  uint64_t word = cell->word.load(std::memory_order_acquire);
  while (IsOpen(word, handle, kind)) {
    if (cell->word.compare_exchange_weak(word, next(word), std::memory_order_acq_rel)) return true;
  }
  return false;
}

void WaitForCalls(HandleCell* cell) {
  uint64_t word = cell->word.load(std::memory_order_acquire);
  while ((word & kCalls) != 0) {
    cell->word.wait(word, std::memory_order_acquire);
    word = cell->word.load(std::memory_order_acquire);
  }
}

}  // namespace

HandlePin& HandlePin::operator=(HandlePin&& other) noexcept {
  if (this != &other) {
    Release();
    cell_ = std::exchange(other.cell_, nullptr);
  }
  return *this;
}

HandlePin HandlePin::Take(const void* handle, Kind kind) {
  if (!Change(handle, kind, [](uint64_t word) { return word + 1; })) return {};
  return HandlePin(CellOf(handle));
}

void HandlePin::Release() {
  HandleCell* const cell = std::exchange(cell_, nullptr);
  if (cell == nullptr) return;
  // What is behind the cell may be gone right after this; the cell itself stays.
  const uint64_t before = cell->word.fetch_sub(1, std::memory_order_acq_rel);
  if ((before & kClosed) != 0) cell->word.notify_all();
}

HandleTable::~HandleTable() {
  MutexLock lock(mutex_);
  // Not unmapped: a handle that is used once more finds zeros here, which are no generation, rather
  // than somebody else's memory.
  for (void* chunk : chunks_) ::madvise(chunk, kChunkBytes, MADV_DONTNEED);
}

HandleCell* HandleTable::FreeCellLocked() {
  if (free_.empty()) {
    void* const chunk =
        ::mmap(nullptr, kChunkBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED) return nullptr;
    chunks_.push_back(chunk);
    for (size_t i = 0; i < kChunkBytes / sizeof(HandleCell); ++i) {
      free_.push_back(std::construct_at(static_cast<HandleCell*>(chunk) + i));
    }
  }
  HandleCell* const cell = free_.front();
  free_.pop_front();
  return cell;
}

void* HandleTable::Add(Kind kind, std::unique_ptr<Object> object) {
  MutexLock lock(mutex_);
  HandleCell* const cell = FreeCellLocked();
  if (cell == nullptr) return nullptr;
  ++open_;
  uint64_t generation = GenerationOf(cell->word.load(std::memory_order_relaxed)) + 1;
  if (generation > kMostGeneration) generation = 1;
  cell->object = object.release();
  cell->table = this;
  cell->word.store(generation << kGenerationShift | static_cast<uint64_t>(kind) << kKindShift,
                   std::memory_order_release);
  return PointerOf(reinterpret_cast<uint64_t>(cell) | generation << kGenerationShift);
}

size_t HandleTable::open() const {
  MutexLock lock(mutex_);
  return open_;
}

void HandleTable::Recycle(HandleCell* cell) {
  cell->object = nullptr;
  const uint64_t word = cell->word.load(std::memory_order_relaxed);
  cell->word.store(GenerationOf(word) << kGenerationShift, std::memory_order_release);
  MutexLock lock(mutex_);
  free_.push_back(cell);
  --open_;
}

bool HandleTable::Close(const void* handle, Kind kind) {
  if (!Change(handle, kind, [](uint64_t word) { return word | kClosed; })) return false;
  HandleCell* const cell = CellOf(handle);
  cell->object->Interrupt();
  WaitForCalls(cell);
  // Counted as open until it is gone: it still uses what owns the table.
  std::unique_ptr<Object>(cell->object).reset();
  cell->table->Recycle(cell);
  return true;
}

std::unique_ptr<Object> HandleTable::CloseLast(const void* handle, Kind kind, bool* busy) {
  *busy = false;
  if (!Change(handle, kind, [](uint64_t word) { return word | kClosed; })) return nullptr;
  HandleCell* const cell = CellOf(handle);
  // One that is inside may be about to make another handle.
  WaitForCalls(cell);
  *busy = cell->table->open() > 1;
  if (*busy) {
    cell->word.fetch_and(~kClosed, std::memory_order_acq_rel);
    return nullptr;
  }
  return std::unique_ptr<Object>(cell->object);
}

}  // namespace mayfly::capi
