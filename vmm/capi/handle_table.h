#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace mayfly::capi {

class HandleTable;

enum class Kind : uint8_t {
  kAny,
  kLibrary,
  kImage,
  kSnapshot,
  kPool,
  kFunction,
  kCall,
  kMachine,
  kZygote
};

// What a handle stands for.
class Object {
 public:
  virtual ~Object() = default;
  // Has the calls that wait in this object return soon, now and later. Any thread.
  virtual void Interrupt() {}
};

// The place behind a handle. Its memory stays readable for as long as the process lives, so a
// closed handle is found out instead of being followed.
struct alignas(64) HandleCell {
  // Bits 0 to 30 count the calls that are inside, 31: closed, 32 to 39: Kind, 48 to 63: generation.
  std::atomic<uint64_t> word;
  Object* object;
  HandleTable* table;
};

// Keeps an object from being destroyed while a call uses it.
class HandlePin {
 public:
  HandlePin() = default;
  HandlePin(HandlePin&& other) noexcept : cell_(std::exchange(other.cell_, nullptr)) {}
  HandlePin& operator=(HandlePin&& other) noexcept;
  HandlePin(const HandlePin&) = delete;
  HandlePin& operator=(const HandlePin&) = delete;
  ~HandlePin() { Release(); }

  // Empty unless the handle is open and of this kind. Any thread.
  static HandlePin Take(const void* handle, Kind kind);

  explicit operator bool() const { return cell_ != nullptr; }
  [[nodiscard]] Object* object() const { return cell_->object; }
  [[nodiscard]] HandleTable& table() const { return *cell_->table; }

 private:
  explicit HandlePin(HandleCell* cell) : cell_(cell) {}
  void Release();

  HandleCell* cell_ = nullptr;
};

// The handles of one instance of the library. A handle is the address of its cell with the cell's
// generation in the upper 16 bits: a cell is used again after all others, and is then another
// handle. Any thread.
class HandleTable {
 public:
  HandleTable() = default;
  HandleTable(const HandleTable&) = delete;
  HandleTable& operator=(const HandleTable&) = delete;
  // Gives the cells' memory back to the host, but for their addresses.
  ~HandleTable();

  // Null if there is no memory for it.
  void* Add(Kind kind, std::unique_ptr<Object> object);
  // Handles that are open.
  [[nodiscard]] size_t open() const;

  // Lets no new call in, interrupts those that are inside, waits for them, and destroys the object;
  // false unless the handle is open and of this kind.
  static bool Close(const void* handle, Kind kind);
  // The same for the object that owns the table, which it hands out instead: null, with `busy` set
  // and nothing done, while other handles are open.
  static std::unique_ptr<Object> CloseLast(const void* handle, Kind kind, bool* busy);

 private:
  static constexpr size_t kChunkBytes = 64 << 10;

  static constexpr uint64_t kMostGeneration = 0xffff;

  // The cell's object is gone: it can be used again.
  void Recycle(HandleCell* cell);
  HandleCell* FreeCellLocked() REQUIRES(mutex_);

  mutable Mutex mutex_;
  std::vector<void*> chunks_ GUARDED_BY(mutex_);
  std::deque<HandleCell*> free_ GUARDED_BY(mutex_);
  size_t open_ GUARDED_BY(mutex_) = 0;
};

}  // namespace mayfly::capi
